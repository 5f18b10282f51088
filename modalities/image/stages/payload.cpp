// Registers the payload type of this modality: decoder, guard and sniffer.
#include "image_payload.h"
#include "morph/registry.h"

namespace morph::image {

void register_payload(Registry& registry) {
  registry.add_payload("image", decode_image);
  registry.add_guard("image", guard_image);
  registry.add_sniffer([](const std::filesystem::path&, std::span<const std::byte> head) { return sniff_image(head); });
}

}  // namespace morph::image
