// Registers the payload type of this modality: decoder, guard and sniffer.
#include "audio_payload.h"
#include "morph/audio.h"
#include "morph/registry.h"

namespace morph::audio {

namespace {

/// Rate and channels are fields of the format: a chunk of another rate would be heard at the wrong speed.
std::string check_audio(const Payload* payload, const Format& format) {
  const auto* chunk = dynamic_cast<const AudioChunk*>(payload);
  if (chunk == nullptr)
    return "expected audio, found " + (payload == nullptr ? "nothing" : std::string(payload->type_name()));
  const auto differs = [&](const char* field, int found) {
    return format.fields.count(field) > 0 && format.get_int(field) != found;
  };
  if (differs("rate", chunk->rate_hz))
    return "expected " + std::to_string(format.get_int("rate")) + " Hz, found " + std::to_string(chunk->rate_hz);
  if (differs("channels", chunk->channels))
    return "expected " + std::to_string(format.get_int("channels")) + " channels, found " +
           std::to_string(chunk->channels);
  return "";
}

}  // namespace

void register_payload(Registry& registry) {
  registry.add_payload("audio.chunk", decode_audio);
  registry.add_payload_check("audio/pcm", check_audio);
  registry.add_payload_check("audio/speech", check_audio);
  registry.add_guard("audio.chunk", guard_audio);
  registry.add_sniffer(sniff_audio);
}

}  // namespace morph::audio
