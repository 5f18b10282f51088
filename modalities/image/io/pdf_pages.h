// The pages of a PDF file as pictures, by poppler's programs pdfinfo and pdftoppm. They are GPL: run as processes,
// never linked.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "morph/image.h"

namespace morph::image {

/// Pages one after the other, at 200 dots per inch (fewer where a page would be larger than 10,000 pixels). One thread.
/// The programs get 2 GiB of memory and a minute for a page each.
class PdfPages {
 public:
  /// `bytes` are copied. Throws Error{format} naming `where` for what poppler cannot open (it says why: a password,
  /// say), Error{config} when its programs are not installed, Error{resource} when the system gives no process.
  PdfPages(std::span<const std::byte> bytes, std::string where);
  ~PdfPages();
  PdfPages(const PdfPages&) = delete;
  PdfPages& operator=(const PdfPages&) = delete;

  int count() const;
  /// Null after the last page. Throws as above.
  std::shared_ptr<Image> next();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace morph::image
