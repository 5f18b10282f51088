// The C interface between the image modality and its codec module (modules/image_codecs.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

/// Where the pixels of a page go: `allocate` is called once, before anything is decoded, with the size, and returns
/// room for width * height * channels bytes, or null to refuse it.
struct MorphImageSink {
  void* user;
  std::uint8_t* (*allocate)(void* user, int width, int height, int channels);
};

/// An opened image file. Functions that fail leave a reason in `message` (cut to `message_size`, with its end).
struct MorphImageCodecs {
  /// `kind` is a name of image_kind.h ("png", "jpeg xl", ...). The bytes must stay as they are until close(). Null:
  /// they cannot be read.
  void* (*open)(const std::uint8_t* bytes, std::size_t n_bytes, const char* kind, char* message,
                std::size_t message_size);
  /// Pages or frames that the file holds, at least 1; 0 when only reading them all would tell.
  int (*count)(void* file);
  /// Decodes the next page to 8-bit RGB or RGBA (alpha not multiplied in), upright. 1: done, 0: there is no further
  /// page, -1: damaged, or refused by the sink.
  int (*next)(void* file, const MorphImageSink* sink, char* message, std::size_t message_size);
  void (*close)(void* file);
};

/// Name of the module's one function.
using MorphImageCodecsFunction = const MorphImageCodecs*();
}
