// The kinds of AudioSource; open_audio chooses among them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "io/audio_source.h"

namespace morph::audio {

/// wav, aiff, flac, ogg, au, caf, w64, ... Null when libsndfile does not know the file.
std::unique_ptr<AudioSource> open_sndfile(const std::string& path);

/// Fills a buffer; returns bytes, or 0 at the end.
using ByteReader = std::function<std::size_t(std::uint8_t* buffer, std::size_t n_bytes)>;
/// Anything else. With `reader`, `path` is only a name and the stream cannot seek.
std::unique_ptr<AudioSource> open_ffmpeg(const std::string& path, int track, ByteReader reader = nullptr);

/// Samples from a descriptor, with or without a WAV header before them. Takes the descriptor over when `owned`.
std::unique_ptr<AudioSource> open_stream(int descriptor, bool owned, const std::string& where,
                                         const std::optional<RawFormat>& raw, bool live);

}  // namespace morph::audio
