// Registers the payload type of this modality: decoder, guard and sniffer.
#include "audio_payload.h"
#include "morph/registry.h"

namespace morph::audio {

void register_payload(Registry& registry) {
  registry.add_payload("audio.chunk", decode_audio);
  registry.add_guard("audio.chunk", guard_audio);
  registry.add_sniffer(sniff_audio);
}

}  // namespace morph::audio
