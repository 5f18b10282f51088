// Wire form, version 1: rate, channels, marker, speech flag, pause, answer end, last flag, samples. Signatures: RIFF
// (Microsoft 1991), RFC 9639 (FLAC), RFC 3533 (Ogg), ISO 11172-3 (MPEG audio frames), ISO 14496-12 (ftyp).
#include "audio_payload.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "exec/wire.h"

namespace morph {

void AudioChunk::encode(std::vector<std::byte>& out) const {
  wire::Writer writer(out);
  writer.u8(1);
  writer.u32(static_cast<std::uint32_t>(rate_hz));
  writer.u32(static_cast<std::uint32_t>(channels));
  writer.u8(static_cast<std::uint8_t>(marker));
  writer.boolean(speech);
  writer.u64(pause_index);
  writer.u64(answer_end);
  writer.boolean(last_of_answer);
  writer.floats(samples);
}

namespace audio {
namespace {

bool is_mpeg_frame(std::string_view head) {
  if (head.size() < 4) return false;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(head[i]); };
  if (byte(0) != 0xFF || (byte(1) & 0xE0) != 0xE0) return false;
  const int version = (byte(1) >> 3) & 3, layer = (byte(1) >> 1) & 3;
  if (layer == 0) return (byte(1) & 0xF6) == 0xF0;  // ADTS
  return version != 1 && (byte(2) >> 4) != 15 && ((byte(2) >> 2) & 3) != 3;
}

bool has_suffix(const std::filesystem::path& file, std::initializer_list<std::string_view> suffixes) {
  std::string suffix = file.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(suffixes.begin(), suffixes.end(), suffix) != suffixes.end();
}

}  // namespace

std::shared_ptr<const Payload> decode_audio(std::span<const std::byte> body) {
  wire::Reader reader(body, "audio.chunk");
  if (const int version = reader.u8(); version != 1)
    reader.fail("expected version 1 of an audio chunk, found " + std::to_string(version));
  auto chunk = std::make_shared<AudioChunk>();
  const std::uint32_t rate = reader.u32(), channels = reader.u32();
  if (rate > 10000000 || channels == 0 || channels > 1024)
    reader.fail("expected a rate and channels of audio, found " + std::to_string(rate) + " Hz and " +
                std::to_string(channels) + " channels");
  chunk->rate_hz = static_cast<int>(rate);
  chunk->channels = static_cast<int>(channels);
  const std::uint8_t marker = reader.u8();
  if (marker > static_cast<std::uint8_t>(TurnMarker::end))
    reader.fail("expected a turn marker 0..4, found " + std::to_string(marker));
  chunk->marker = static_cast<TurnMarker>(marker);
  chunk->speech = reader.boolean();
  chunk->pause_index = reader.u64();
  chunk->answer_end = static_cast<std::size_t>(reader.u64());
  chunk->last_of_answer = reader.boolean();
  chunk->samples = reader.floats();
  if (chunk->samples.size() % channels != 0) reader.fail("expected whole frames of samples");
  reader.expect_end();
  return chunk;
}

void guard_audio(const Payload& payload, GuardReport& report) {
  const auto* chunk = dynamic_cast<const AudioChunk*>(&payload);
  if (chunk == nullptr) return;
  for (const float sample : chunk->samples) report.add(static_cast<double>(sample), 1.0);
  report.unit_ends = chunk->last_of_answer;
}

std::string sniff_audio(const std::filesystem::path& file, std::span<const std::byte> head_bytes) {
  const std::string_view head(reinterpret_cast<const char*>(head_bytes.data()), head_bytes.size());
  const auto at = [&](std::size_t offset, std::string_view tag) {
    return head.size() >= offset + tag.size() && head.substr(offset, tag.size()) == tag;
  };
  bool audio = (at(0, "RIFF") || at(0, "RF64") || at(0, "BW64") || at(0, "RIFX")) && at(8, "WAVE");
  audio = audio || (at(0, "FORM") && (at(8, "AIFF") || at(8, "AIFC")));
  for (const std::string_view tag : {"fLaC", "ID3", ".snd", "caff", "wvpk", "#!AMR", "MAC ", "TTA1"})
    audio = audio || at(0, tag);
  if (at(0, "OggS")) audio = head.find("theora") == std::string_view::npos;
  if (at(4, "ftyp")) audio = at(8, "M4A ") || at(8, "M4B ") || has_suffix(file, {".m4a", ".m4b", ".aac"});
  if (at(0, "\x1A\x45\xDF\xA3")) audio = has_suffix(file, {".weba", ".mka"});
  if (!audio && is_mpeg_frame(head)) audio = true;
  return audio ? "audio" : "";
}

}  // namespace audio
}  // namespace morph
