// See image_kind.h.
#include "io/image_kind.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace morph::image {
namespace {

using namespace std::string_view_literals;

struct Magic {
  std::size_t offset;
  std::string_view bytes;
  ImageKind kind;
};

constexpr ImageKind kTiff = {"tiff", "TIFF", true, true};
constexpr ImageKind kJpegXl = {"jpeg xl", "JPEG XL", false, true};
constexpr ImageKind kPdf = {"pdf", "PDF", true, true};
constexpr ImageKind kGif = {"gif", "GIF", true, true};

constexpr std::array kMagics = {
    Magic{0, "\x89PNG\r\n\x1a\n"sv, {"png", "PNG", false, true}},
    Magic{0, "\xff\xd8\xff"sv, {"jpeg", "JPEG", false, true}},
    Magic{0, "II*\0"sv, kTiff},
    Magic{0, "MM\0*"sv, kTiff},
    Magic{0, "II+\0\x08\0\0\0"sv, kTiff},
    Magic{0, "MM\0+\0\x08\0\0"sv, kTiff},
    Magic{0, "GIF87a"sv, kGif},
    Magic{0, "GIF89a"sv, kGif},
    Magic{0, "\0\0\0\x0cjP  \r\n\x87\n"sv, {"jpeg2000", "JPEG 2000", false, true}},
    Magic{0, "\xff\x4f\xff\x51"sv, {"jpeg2000", "JPEG 2000", false, true}},
    Magic{0, "\0\0\0\x0cJXL \r\n\x87\n"sv, kJpegXl},
    Magic{0, "\xff\x0a"sv, kJpegXl},
    Magic{0, "v/1\x01"sv, {"openexr", "OpenEXR", false, true}},
    Magic{0, "#?RADIANCE"sv, {"hdr", "Radiance HDR", false, true}},
    Magic{0, "8BPS"sv, {"psd", "Photoshop", false, true}},
    Magic{0, "SDPX"sv, {"dpx", "DPX", false, true}},
    Magic{0, "XPDS"sv, {"dpx", "DPX", false, true}},
    Magic{0, "DDS "sv, {"dds", "DirectDraw surface", false, true}},
    Magic{0, "\0\0\x01\0"sv, {"ico", "icon", false, true}},
    Magic{0, "%PDF-"sv, kPdf},
    Magic{0, "AT&TFORM"sv, {"djvu", "DjVu", true, false}},
};

/// Brands of ISO base media files (the four characters after "ftyp", and those listed as compatible) that are pictures.
const ImageKind* brand_kind(std::string_view bytes) {
  static constexpr ImageKind kAvif = {"heif", "AVIF", true, true};
  static constexpr ImageKind kHeic = {"heif", "HEIC", true, true};
  if (bytes.size() < 12 || bytes.substr(4, 4) != "ftyp") return nullptr;
  const ImageKind* found = nullptr;
  for (std::size_t at = 8; at + 4 <= bytes.size(); at += at == 8 ? 8 : 4) {  // the minor version stands between
    const std::string_view brand = bytes.substr(at, 4);
    if (brand == "avif" || brand == "avis") return &kAvif;
    for (const std::string_view known : {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"})
      if (brand == known) found = &kHeic;
    if (at == 8 && found == nullptr) return nullptr;  // the major brand decides that it is a picture at all
  }
  return found;
}

bool is_pnm(std::string_view bytes) {
  if (bytes.size() < 9 || bytes[0] != 'P' || bytes[1] < '1' || bytes[1] > '6') return false;
  return std::string_view(" \t\r\n").find(bytes[2]) != std::string_view::npos &&
         (bytes[3] == '#' || (bytes[3] >= '0' && bytes[3] <= '9'));
}

}  // namespace

const ImageKind* image_kind(std::span<const std::byte> head) {
  static constexpr ImageKind kWebp = {"webp", "WebP", true, true};
  static constexpr ImageKind kBmp = {"bmp", "BMP", false, true};
  static constexpr ImageKind kPnm = {"pnm", "PNM", false, true};
  const std::string_view bytes(reinterpret_cast<const char*>(head.data()), std::min<std::size_t>(head.size(), 64));
  for (const Magic& magic : kMagics)
    if (bytes.size() >= magic.offset + magic.bytes.size() &&
        bytes.substr(magic.offset, magic.bytes.size()) == magic.bytes)
      return &magic.kind;
  if (bytes.size() > 16 && bytes.starts_with("RIFF") && bytes.substr(8, 4) == "WEBP") return &kWebp;
  // BMP: "BM", then a plausible size of the information header.
  if (bytes.size() > 18 && bytes.starts_with("BM") && bytes.substr(15, 3) == "\0\0\0"sv) return &kBmp;
  if (is_pnm(bytes)) return &kPnm;
  return brand_kind(bytes);
}

const char* readable_image_kinds() {
  return "PNG, JPEG, WebP, GIF, TIFF, BMP, PNM, HEIC, AVIF, JPEG XL, JPEG 2000, OpenEXR, HDR, PSD or PDF";
}

}  // namespace morph::image
