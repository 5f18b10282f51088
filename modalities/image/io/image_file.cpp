// Image files. See image_file.h.
#include "io/image_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <string_view>
#include <utility>

#include "base/loaded_module.h"
#include "base/short_of_memory.h"
#include "io/codec_interface.h"
#include "io/flatten_alpha.h"
#include "io/image_kind.h"
#include "io/pdf_pages.h"
#include "morph/error.h"

namespace morph::image {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 30;
constexpr std::int64_t kMostPixels = std::int64_t{1} << 28;

std::uint8_t* allocate(void* user, int width, int height, int channels) {
  auto& image = *static_cast<Image*>(user);
  if (width <= 0 || height <= 0 || static_cast<std::int64_t>(width) * height > kMostPixels) return nullptr;
  image.width = width;
  image.height = height;
  image.channels = channels;
  image.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) *
                      static_cast<std::size_t>(channels));
  return image.pixels.data();
}

}  // namespace

std::vector<std::byte> read_bytes(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) throw Error(ErrorCode::config, path, "expected an image file, found none that can be opened");
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::vector<std::byte> bytes;
  std::vector<char> block(1 << 18);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0) {
    const auto got = std::as_bytes(std::span(block.data(), static_cast<std::size_t>(in.gcount())));
    bytes.insert(bytes.end(), got.begin(), got.end());
    if (bytes.size() > kMostBytes)
      throw Error(ErrorCode::resource, path, "expected at most 1 GiB of image, found more");
  }
  return bytes;
}

bool ends_early(std::span<const std::byte> bytes) {
  // ITU-T T.81, annex B: markers with segments of a stated length; after a start of scan also coded bytes, in which ff
  // is followed by 00 or a restart marker. Previews inside a segment, with ends of their own, are stepped over.
  const auto at = [&](std::size_t i) { return std::to_integer<unsigned>(bytes[i]); };
  if (bytes.size() < 2 || at(0) != 0xff || at(1) != 0xd8) return false;
  bool coded = false;
  for (std::size_t i = 2; i + 1 < bytes.size();) {
    const unsigned marker = at(i + 1);
    const bool is_marker = at(i) == 0xff && marker != 0x00 && marker != 0xff && (marker & 0xf8) != 0xd0;
    if (!is_marker) {
      if (at(i) != 0xff && !coded) return false;  // no marker where one must be: damaged, which the decoder judges
      ++i;
      continue;
    }
    if (marker == 0xd9) return false;
    if (i + 3 >= bytes.size()) return true;
    coded = marker == 0xda;
    i += 2 + std::max<std::size_t>(2, at(i + 2) << 8 | at(i + 3));
  }
  return true;
}

struct ImageFile::Impl {
  std::vector<std::byte> bytes;
  std::string where;
  const ImageKind* kind = nullptr;
  const MorphImageCodecs* codecs = nullptr;
  void* file = nullptr;  ///< the codec module's
  std::unique_ptr<PdfPages> pdf;
  int n_read = 0;

  ~Impl() {
    if (file != nullptr) codecs->close(file);
  }

  /// What the codecs said, as an error.
  [[noreturn]] void fail(std::string_view message) const {
    if (says_short_of_memory(message))
      throw Error(ErrorCode::resource, where,
                  fmt::format("expected memory to decode this image, found too little ({}); close other programs or "
                              "make the image smaller",
                              message));
    throw Error(ErrorCode::format, where, fmt::format("expected a {} image, but {}", kind->title, message));
  }
};

ImageFile::ImageFile(std::vector<std::byte> bytes, std::string where) : impl_(std::make_unique<Impl>()) {
  Impl& self = *impl_;
  self.bytes = std::move(bytes);
  self.where = std::move(where);
  if (self.bytes.empty()) throw Error(ErrorCode::format, self.where, "expected an image, found an empty file");
  self.kind = image_kind(self.bytes);
  if (self.kind == nullptr)
    throw Error(ErrorCode::format, self.where,
                fmt::format("expected {}, but its first bytes are of none of them", readable_image_kinds()));
  if (!self.kind->readable)
    throw Error(ErrorCode::format, self.where,
                fmt::format("is a {} file, which this build cannot decode; convert it to one of {}", self.kind->title,
                            readable_image_kinds()));
  if (self.kind->name == std::string_view("pdf")) {
    self.pdf = std::make_unique<PdfPages>(self.bytes, self.where);
    return;
  }
  static const LoadedModule module("image_codecs");  // one load per process; dlopen counts anyway
  self.codecs = module.function<MorphImageCodecsFunction>("morph_image_codecs_v2")();
  std::array<char, 256> message{};
  self.file = self.codecs->open(reinterpret_cast<const std::uint8_t*>(self.bytes.data()), self.bytes.size(),
                                self.kind->name, message.data(), message.size());
  if (self.file == nullptr) self.fail(message.data());
}

ImageFile::~ImageFile() = default;

int ImageFile::count() const {
  if (impl_->pdf) return impl_->pdf->count();
  return impl_->kind->paged ? impl_->codecs->count(impl_->file) : 1;
}

std::span<const std::byte> ImageFile::bytes() const { return impl_->bytes; }

std::shared_ptr<const Image> ImageFile::next() {
  Impl& self = *impl_;
  std::shared_ptr<Image> image;
  if (self.pdf) {
    image = self.pdf->next();
    if (!image) return nullptr;
  } else {
    image = std::make_shared<Image>();
    const MorphImageSink sink{image.get(), allocate};
    std::array<char, 256> message{};
    const int got = self.codecs->next(self.file, &sink, message.data(), message.size());
    if (got < 0) self.fail(message.data());
    if (got == 0) return nullptr;
    flatten_alpha(*image);
  }
  ++self.n_read;
  if (count() != 1) image->page = self.n_read;
  image->n_pages = count();
  return image;
}

std::shared_ptr<const Image> decode_file(std::span<const std::byte> bytes, const std::string& where) {
  ImageFile file({bytes.begin(), bytes.end()}, where);
  std::shared_ptr<const Image> image = file.next();
  if (!image) throw Error(ErrorCode::format, where, "expected an image, found no picture in the file");
  return image;
}

}  // namespace morph::image
