// FFmpeg's words for one of its error numbers.
#pragma once

extern "C" {
#include <libavutil/error.h>
}

#include <string>

namespace morph::audio {

inline std::string message_of(int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof text);
  return text;
}

}  // namespace morph::audio
