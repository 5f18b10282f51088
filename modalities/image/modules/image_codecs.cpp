// Image codecs by OpenImageIO, and JPEG XL by its own library, in a module of their own: what they link is slow to
// load.
//
// libpng, libjpeg and libtiff print what they dislike on standard error. While a picture is decoded the descriptor
// leads to memory; the libraries' lines become part of our message, what anything else printed meanwhile is printed
// afterwards.
#include <OpenImageIO/imagecache.h>
#include <OpenImageIO/imageio.h>
#include <fcntl.h>
#include <jxl/decode.h>
#include <jxl/decode_cxx.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "io/codec_interface.h"

namespace {

/// Holds standard error back while it lives. Does nothing where the system refuses.
class HeldStderr {
 public:
  HeldStderr()
      : memory_(memfd_create("stderr", MFD_CLOEXEC)),
        real_(memory_ < 0 ? -1 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) {
    if (real_ >= 0) dup2(memory_, STDERR_FILENO);
  }
  ~HeldStderr() {
    complaint();
    if (memory_ >= 0) close(memory_);
  }
  HeldStderr(const HeldStderr&) = delete;
  HeldStderr& operator=(const HeldStderr&) = delete;

  /// Puts standard error back; the last line that a codec printed, "" if none did.
  std::string complaint() {
    if (real_ < 0) return last_;
    dup2(real_, STDERR_FILENO);
    std::string text;
    std::array<char, 4096> block{};
    ssize_t n = 0;
    for (off_t at = 0; (n = pread(memory_, block.data(), block.size(), at)) > 0; at += n)
      text.append(block.data(), static_cast<std::size_t>(n));
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
      if (is_codecs(line))
        last_ = line;
      else
        std::fprintf(stderr, "%s\n", line.c_str());
    close(real_);
    real_ = -1;
    return last_;
  }

 private:
  static bool is_codecs(const std::string& line) {
    for (const char* const mark : {"libpng ", "JPEG ", "TIFF", "Webp", "OpenImageIO", "libheif"})
      if (line.find(mark) != std::string::npos) return true;
    return false;
  }

  int memory_ = -1, real_ = -1;
  std::string last_;
};

std::mutex& one_at_a_time() {  // there is one standard error
  static std::mutex mutex;
  return mutex;
}

/// A file of one kind, page by page. Functions throw std::exception with the reason.
class PageSource {
 public:
  virtual ~PageSource() = default;
  virtual int count() = 0;
  virtual bool next(const MorphImageSink& sink) = 0;
};

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }

std::uint8_t* room_for(const MorphImageSink& sink, int width, int height, int channels) {
  if (width <= 0 || height <= 0) fail("it states a size of " + std::to_string(width) + " x " + std::to_string(height));
  std::uint8_t* room = sink.allocate(sink.user, width, height, channels);
  if (room == nullptr) fail("it is too large: " + std::to_string(width) + " x " + std::to_string(height) + " pixels");
  return room;
}

/// Where a stored pixel goes on the upright picture, for EXIF orientation 1..8 (Exif 2.3, 4.6.4 A).
struct Turn {
  int orientation, width, height;  ///< of the stored picture
  bool sideways() const { return orientation >= 5; }
  std::pair<int, int> operator()(int x, int y) const {
    switch (orientation) {
      case 2:
        return {width - 1 - x, y};
      case 3:
        return {width - 1 - x, height - 1 - y};
      case 4:
        return {x, height - 1 - y};
      case 5:
        return {y, x};
      case 6:
        return {height - 1 - y, x};
      case 7:
        return {height - 1 - y, width - 1 - x};
      case 8:
        return {y, width - 1 - x};
      default:
        return {x, y};
    }
  }
};

/// Scene-referred light to what a screen shows (IEC 61966-2-1), 8 bits.
std::uint8_t to_srgb(float light) {
  const float x = std::clamp(light, 0.0F, 1.0F);  // a NaN becomes 0
  const float shown = x <= 0.0031308F ? 12.92F * x : 1.055F * std::pow(x, 1.0F / 2.4F) - 0.055F;
  return static_cast<std::uint8_t>(std::lround(255.0F * (shown >= 0.0F ? shown : 0.0F)));
}

class OiioSource final : public PageSource {
 public:
  OiioSource(const std::uint8_t* bytes, std::size_t n_bytes, const std::string& kind)
      : memory_(memfd_create("image", MFD_CLOEXEC)) {
    if (memory_ < 0) fail("there is no memory for a copy of it");
    for (std::size_t done = 0; done < n_bytes;) {
      const ssize_t n = ::write(memory_, bytes + done, n_bytes - done);
      if (n <= 0) {
        ::close(memory_);
        fail("there is no memory for a copy of it");
      }
      done += static_cast<std::size_t>(n);
    }
    OIIO::attribute("threads", 1);
    input_ = OIIO::ImageInput::create(kind);
    OIIO::ImageSpec wanted;
    wanted["oiio:UnassociatedAlpha"] = 1;
    const std::string path = "/proc/self/fd/" + std::to_string(memory_);
    if (!input_ || !input_->open(path, spec_, wanted)) {
      const std::string why = input_ ? input_->geterror() : OIIO::geterror();
      ::close(memory_);
      fail(why.empty() ? "its header is damaged" : "its header is damaged (" + without(why, path) + ")");
    }
  }
  ~OiioSource() override {
    input_.reset();
    ::close(memory_);
  }
  OiioSource(const OiioSource&) = delete;
  OiioSource& operator=(const OiioSource&) = delete;

  int count() override {
    const int stated = spec_.get_int_attribute("oiio:subimages", 0);
    return std::max(0, stated);
  }

  bool next(const MorphImageSink& sink) override {
    if (!input_->seek_subimage(page_, 0)) {
      const std::string why = input_->geterror();
      if (page_ == 0) fail("it holds no picture");
      const int stated = count();
      if (stated > page_) fail("page " + std::to_string(page_ + 1) + " of " + std::to_string(stated) + " is damaged");
      return false;
    }
    const OIIO::ImageSpec spec = input_->spec();
    const bool light = spec.format.is_floating_point();
    const int channels = std::min(spec.nchannels, 4);
    const bool alpha = spec.alpha_channel >= 0 && spec.alpha_channel < channels;
    if (channels < 1) fail("it holds no picture");
    const Turn turn{spec.get_int_attribute("Orientation", 1), spec.width, spec.height};
    const int out_channels = alpha ? 4 : 3;
    std::uint8_t* out = turn.sideways() ? room_for(sink, spec.height, spec.width, out_channels)
                                        : room_for(sink, spec.width, spec.height, out_channels);
    const bool multiplied = alpha && spec.get_int_attribute("oiio:UnassociatedAlpha", 0) == 0;
    if (light)
      convert(read<float>(channels, OIIO::TypeDesc::FLOAT), spec, channels, multiplied, turn, out);
    else
      convert(read<std::uint8_t>(channels, OIIO::TypeDesc::UINT8), spec, channels, multiplied, turn, out);
    ++page_;
    return true;
  }

 private:
  static std::string without(std::string text, const std::string& path) {
    for (std::size_t at = 0; (at = text.find(path)) != std::string::npos;) text.replace(at, path.size(), "it");
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
  }

  template <class Sample>
  std::vector<Sample> read(int channels, OIIO::TypeDesc type) {
    const OIIO::ImageSpec spec = input_->spec();
    std::vector<Sample> samples(static_cast<std::size_t>(spec.width) * static_cast<std::size_t>(spec.height) *
                                static_cast<std::size_t>(channels));
    if (!input_->read_image(page_, 0, 0, channels, type, samples.data())) {
      const std::string why = input_->geterror();
      fail("it is damaged" +
           (why.empty() ? "" : " (" + without(why, "/proc/self/fd/" + std::to_string(memory_)) + ")"));
    }
    return samples;
  }

  template <class Sample>
  static void convert(const std::vector<Sample>& samples, const OIIO::ImageSpec& spec, int channels, bool multiplied,
                      const Turn& turn, std::uint8_t* out) {
    const bool grey = channels < 3;
    const int alpha_at = spec.alpha_channel >= 0 && spec.alpha_channel < channels ? spec.alpha_channel : -1;
    const std::size_t out_channels = alpha_at >= 0 ? 4 : 3;
    const int out_width = turn.sideways() ? spec.height : spec.width;
    const Sample* from = samples.data();
    for (int y = 0; y < spec.height; ++y)
      for (int x = 0; x < spec.width; ++x, from += channels) {
        const auto [to_x, to_y] = turn(x, y);
        std::uint8_t* to = out + (static_cast<std::size_t>(to_y) * static_cast<std::size_t>(out_width) +
                                  static_cast<std::size_t>(to_x)) *
                                     out_channels;
        for (int c = 0; c < 3; ++c) to[c] = shown(from[grey ? 0 : c], multiplied ? &from[alpha_at] : nullptr);
        if (alpha_at >= 0) to[3] = opacity(from[alpha_at]);
      }
  }

  static std::uint8_t shown(std::uint8_t value, const std::uint8_t* alpha) {
    if (alpha == nullptr || *alpha == 0) return value;
    return static_cast<std::uint8_t>(std::min(255, value * 255 / *alpha));
  }
  static std::uint8_t shown(float value, const float* alpha) {
    return to_srgb(alpha == nullptr || *alpha <= 0.0F ? value : value / *alpha);
  }
  static std::uint8_t opacity(std::uint8_t alpha) { return alpha; }
  static std::uint8_t opacity(float alpha) {
    return static_cast<std::uint8_t>(std::lround(255.0F * (alpha > 0.0F ? std::min(alpha, 1.0F) : 0.0F)));
  }

  int memory_;
  std::unique_ptr<OIIO::ImageInput> input_;
  OIIO::ImageSpec spec_;
  int page_ = 0;
};

/// JPEG XL: one picture, or the frames of an animation.
class JxlSource final : public PageSource {
 public:
  JxlSource(const std::uint8_t* bytes, std::size_t n_bytes) : decoder_(JxlDecoderMake(nullptr)) {
    if (!decoder_) fail("there is no memory to read it");
    JxlDecoderSubscribeEvents(decoder_.get(), JXL_DEC_BASIC_INFO | JXL_DEC_FULL_IMAGE);
    JxlDecoderSetInput(decoder_.get(), bytes, n_bytes);
    JxlDecoderCloseInput(decoder_.get());
  }
  int count() override { return 0; }
  bool next(const MorphImageSink& sink) override {
    for (;;) {
      switch (JxlDecoderProcessInput(decoder_.get())) {
        case JXL_DEC_BASIC_INFO:
          if (JxlDecoderGetBasicInfo(decoder_.get(), &info_) != JXL_DEC_SUCCESS) fail("its header is damaged");
          if (info_.xsize > 1U << 20 || info_.ysize > 1U << 20) fail("it is too large");
          break;
        case JXL_DEC_NEED_IMAGE_OUT_BUFFER: {
          const JxlPixelFormat format{info_.alpha_bits > 0 ? 4U : 3U, JXL_TYPE_UINT8, JXL_NATIVE_ENDIAN, 0};
          const int width = static_cast<int>(info_.xsize), height = static_cast<int>(info_.ysize);
          std::uint8_t* out = room_for(sink, width, height, static_cast<int>(format.num_channels));
          const std::size_t n =
              static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * format.num_channels;
          if (JxlDecoderSetImageOutBuffer(decoder_.get(), &format, out, n) != JXL_DEC_SUCCESS) fail("it is damaged");
          break;
        }
        case JXL_DEC_FULL_IMAGE:
          return true;
        case JXL_DEC_SUCCESS:
          return false;
        default:
          fail("it is damaged or cut short");
      }
    }
  }

 private:
  JxlDecoderPtr decoder_;
  JxlBasicInfo info_{};
};

struct OpenImage {
  std::unique_ptr<PageSource> pages;
};

/// Runs `work` with standard error held back; puts the reason of a failure into `message`. Edge: no exception passes.
template <class Work>
bool guarded(char* message, std::size_t message_size, const Work& work) {
  const std::lock_guard lock(one_at_a_time());
  HeldStderr held;
  std::string why;
  try {
    work();
    held.complaint();
    return true;
  } catch (const std::exception& error) {
    why = error.what();
  } catch (...) {  // a codec's own
    why = "a codec failed";
  }
  const std::string complaint = held.complaint();
  if (!complaint.empty() && why.find('(') == std::string::npos) why += " (" + complaint + ")";
  std::snprintf(message, message_size, "%s", why.c_str());
  return false;
}

void* open_image(const std::uint8_t* bytes, std::size_t n_bytes, const char* kind, char* message,
                 std::size_t message_size) {
  auto image = std::make_unique<OpenImage>();
  const bool opened = guarded(message, message_size, [&] {
    if (std::strcmp(kind, "jpeg xl") == 0)
      image->pages = std::make_unique<JxlSource>(bytes, n_bytes);
    else
      image->pages = std::make_unique<OiioSource>(bytes, n_bytes, kind);
  });
  return opened ? image.release() : nullptr;
}

int count_pages(void* file) { return static_cast<OpenImage*>(file)->pages->count(); }

int next_page(void* file, const MorphImageSink* sink, char* message, std::size_t message_size) {
  bool more = false;
  if (!guarded(message, message_size, [&] { more = static_cast<OpenImage*>(file)->pages->next(*sink); })) return -1;
  return more ? 1 : 0;
}

void close_image(void* file) { delete static_cast<OpenImage*>(file); }

}  // namespace

extern "C" __attribute__((visibility("default"))) MorphImageCodecsFunction morph_image_codecs_v2;

extern "C" const MorphImageCodecs* morph_image_codecs_v2() {
  static constexpr MorphImageCodecs kCodecs{open_image, count_pages, next_page, close_image};
  return &kCodecs;
}
