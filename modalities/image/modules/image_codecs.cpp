// Image codecs by OpenCV, in a module of its own: Debian's imgcodecs pulls in GDAL, which is slow to load.
#include <cstdio>
#include <cstring>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "io/codec_interface.h"

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
    cv::Mat image = cv::imdecode(raw, cv::IMREAD_COLOR);
    if (image.empty()) return fail("no codec recognises it, or it is damaged");
    std::uint8_t* out = sink->allocate(sink->user, image.cols, image.rows, 3);
    if (out == nullptr) return fail("it is too large");
    cv::Mat target(image.rows, image.cols, CV_8UC3, out);
    cv::cvtColor(image, target, cv::COLOR_BGR2RGB);
    return 0;
  } catch (const std::exception& error) {
    return fail(error.what());
  }
}
