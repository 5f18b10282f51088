// The engine's own payloads: decoders of tensors and events for the wire codec, and the guard of tensors.
#include <cstring>

#include "exec/wire.h"
#include "morph/registry.h"

namespace morph::builtin {

namespace {

void guard_tensor(const Payload& payload, GuardReport& report) {
  const auto* tensor = dynamic_cast<const TensorPayload*>(&payload);
  if (tensor == nullptr || tensor->type != TensorPayload::Type::f32) return;
  GuardReport values;  // only NaN is judged: masks and padding are constant by design
  for (std::size_t at = 0; at + sizeof(float) <= tensor->data.size(); at += sizeof(float)) {
    float value;
    std::memcpy(&value, tensor->data.data() + at, sizeof value);
    values.add(value);
  }
  report.nan = report.nan || values.nan;
}

}  // namespace

void register_payloads(Registry& registry) {
  registry.add_payload("tensor", wire::decode_tensor);
  registry.add_payload("event", wire::decode_event);
  registry.add_guard("tensor", guard_tensor);
}

}  // namespace morph::builtin
