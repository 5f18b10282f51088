// Registers the payload type of this modality: decoder, guard and sniffer.
#include "morph/registry.h"
#include "text_payload.h"

namespace morph::text {

void register_payload(Registry& registry) {
  registry.add_payload("text", decode_text);
  registry.add_guard("text", guard_text);
  registry.add_sniffer([](const std::filesystem::path&, std::span<const std::byte> head) { return sniff_text(head); });
}

}  // namespace morph::text
