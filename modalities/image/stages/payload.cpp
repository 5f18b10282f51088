// Registers the payload type of this modality: decoder, guard and sniffer.
#include "image_payload.h"
#include "morph/image.h"
#include "morph/registry.h"

namespace morph::image {

void register_payload(Registry& registry) {
  registry.add_payload("image", decode_image);
  registry.add_payload_check("image/pixels", [](const Payload* payload, const Format& format) -> std::string {
    const auto* image = dynamic_cast<const Image*>(payload);
    if (image != nullptr && format.fields.count("channels") > 0 && format.get_int("channels") != image->channels)
      return "expected " + std::to_string(format.get_int("channels")) + " channels, found " +
             std::to_string(image->channels);
    if (image != nullptr) return "";
    return "expected a picture, found " + (payload == nullptr ? "nothing" : std::string(payload->type_name()));
  });
  registry.add_guard("image", guard_image);
  registry.add_sniffer([](const std::filesystem::path&, std::span<const std::byte> head) { return sniff_image(head); });
}

}  // namespace morph::image
