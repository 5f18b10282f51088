// AudioChunk off the wire, its guard, and which first bytes are audio.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "morph/audio.h"
#include "morph/guard.h"

namespace morph::audio {

/// Throws Error{format} for a damaged body.
std::shared_ptr<const Payload> decode_audio(std::span<const std::byte> body);
void guard_audio(const Payload& payload, GuardReport& report);
/// "audio" or "". Containers that may hold either (MP4, Matroska) count as audio by an audio suffix only.
std::string sniff_audio(const std::filesystem::path& file, std::span<const std::byte> head);

}  // namespace morph::audio
