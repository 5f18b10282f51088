// Image files to pixels, page by page: through the codec module, PDF through poppler's programs.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "morph/image.h"

namespace morph::image {

/// Whole file; "-" is standard input. Throws Error{config} when it cannot be opened, Error{resource} beyond 1 GiB.
std::vector<std::byte> read_bytes(const std::string& path);

/// The pages or frames of an image file, one after the other. One thread.
class ImageFile {
 public:
  /// Throws Error{format} naming `where` for what is no image, is damaged, or is of a kind that is not decoded here (it
  /// says which).
  ImageFile(std::vector<std::byte> bytes, std::string where);
  ~ImageFile();
  ImageFile(const ImageFile&) = delete;
  ImageFile& operator=(const ImageFile&) = delete;

  /// Pages; 0 when only reading them all tells.
  int count() const;
  /// The next page as upright RGB, transparent parts laid over what the drawing stands out from (flatten_alpha.h); null
  /// after the last. Throws Error{format} for a damaged page (also when a page that was announced is missing) and for
  /// more than 2^28 pixels, which is found before they are decoded.
  std::shared_ptr<const Image> next();
  std::span<const std::byte> bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The first page. Throws as ImageFile does.
std::shared_ptr<const Image> decode_file(std::span<const std::byte> bytes, const std::string& where);

/// Whether these bytes begin as a JPEG file does but stop before its end. Decoders of JPEG fill what is missing with
/// grey and say nothing; those of the other formats refuse it.
bool ends_early(std::span<const std::byte> bytes);

}  // namespace morph::image
