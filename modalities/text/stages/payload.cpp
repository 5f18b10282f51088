// Registers the payload type of this modality: decoder, guard and sniffer.
#include "morph/registry.h"
#include "morph/text.h"
#include "text_payload.h"

namespace morph::text {

namespace {

std::string check_text(const Payload* payload, const Format&) {
  if (dynamic_cast<const Text*>(payload) != nullptr) return "";
  return "expected text, found " + (payload == nullptr ? "nothing" : std::string(payload->type_name()));
}

}  // namespace

void register_payload(Registry& registry) {
  registry.add_payload("text", decode_text);
  registry.add_payload_check("text/plain", check_text);
  registry.add_payload_check("text/turns", check_text);
  registry.add_guard("text", guard_text);
  registry.add_sniffer([](const std::filesystem::path&, std::span<const std::byte> head) { return sniff_text(head); });
}

}  // namespace morph::text
