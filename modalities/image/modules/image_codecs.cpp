// Image codecs by OpenCV, in a module of its own: Debian's imgcodecs pulls in GDAL, which is slow to load.
//
// libpng, libjpeg and libtiff print what they dislike on standard error, and OpenCV gives no way to ask them otherwise.
// While a picture is decoded the descriptor leads to memory; the libraries' lines become part of our message, what
// anything else printed meanwhile is printed afterwards.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <sstream>
#include <string>

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
    for (const char* const mark : {"libpng ", "JPEG ", "TIFF", "Webp", "imread_", "OpenCV"})
      if (line.find(mark) != std::string::npos) return true;
    return false;
  }

  int memory_ = -1, real_ = -1;
  std::string last_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) MorphImageDecode morph_image_decode_v1;

extern "C" int morph_image_decode_v1(const std::uint8_t* bytes, std::size_t n_bytes, const MorphImageSink* sink,
                                     char* message, std::size_t message_size) {
  const auto fail = [&](const char* why) {
    std::snprintf(message, message_size, "%s", why);
    return 1;
  };
  try {
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    if (n_bytes == 0 || n_bytes > (std::size_t{1} << 30)) return fail("it is empty or larger than 1 GiB");
    const cv::Mat raw(1, static_cast<int>(n_bytes), CV_8UC1, const_cast<std::uint8_t*>(bytes));
    static std::mutex one_at_a_time;  // there is one standard error
    cv::Mat image;
    std::string complaint;
    {
      const std::lock_guard lock(one_at_a_time);
      HeldStderr held;
      image = cv::imdecode(raw, cv::IMREAD_COLOR);
      complaint = held.complaint();
    }
    if (image.empty())
      return fail(
          ("no codec recognises it, or it is damaged" + (complaint.empty() ? "" : " (" + complaint + ")")).c_str());
    std::uint8_t* out = sink->allocate(sink->user, image.cols, image.rows, 3);
    if (out == nullptr) return fail("it is too large");
    cv::Mat target(image.rows, image.cols, CV_8UC3, out);
    cv::cvtColor(image, target, cv::COLOR_BGR2RGB);
    return 0;
  } catch (const std::exception& error) {
    return fail(error.what());
  }
}
