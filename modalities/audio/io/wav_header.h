// The header of a WAV stream, read from its first bytes: needed for pipes (whose sizes are unknown or wrong) and to
// notice files that are shorter than they say. Source: Microsoft RIFF / WAVEFORMATEX; RF64 by EBU Tech 3306.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "audio_source.h"  // beside this file, so that fuzz targets find it

namespace morph::audio {

struct WavHeader {
  RawFormat format;
  bool plain = false;                       ///< an encoding that we decode ourselves; else libsndfile's business
  std::size_t data_offset = 0;              ///< of the first sample
  std::optional<std::uint64_t> data_bytes;  ///< nothing: as long as the stream goes on
};

/// Nothing when `head` is too short to tell. Throws Error{format} for a broken header.
std::optional<WavHeader> parse_wav_header(std::span<const std::byte> head, const std::string& where);
bool looks_like_wav(std::span<const std::byte> head);

}  // namespace morph::audio
