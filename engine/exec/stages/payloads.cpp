// The engine's own payloads: decoders of tensors and events for the wire codec, and the guard of tensors.
#include <cstring>

#include "exec/wire.h"
#include "morph/registry.h"

namespace morph::builtin {

namespace {

/// Whether a number of 16 bits is NaN or infinite: all bits of its exponent are set.
bool holds_not_finite(std::span<const std::byte> data, std::uint16_t exponent) {
  for (std::size_t at = 0; at + sizeof(std::uint16_t) <= data.size(); at += sizeof(std::uint16_t)) {
    std::uint16_t value;
    std::memcpy(&value, data.data() + at, sizeof value);
    if ((value & exponent) == exponent) return true;
  }
  return false;
}

void guard_tensor(const Payload& payload, GuardReport& report) {
  const auto* tensor = dynamic_cast<const TensorPayload*>(&payload);
  if (tensor == nullptr) return;
  if (tensor->type == TensorPayload::Type::f16) report.nan = report.nan || holds_not_finite(tensor->data, 0x7C00);
  if (tensor->type == TensorPayload::Type::bf16) report.nan = report.nan || holds_not_finite(tensor->data, 0x7F80);
  if (tensor->type != TensorPayload::Type::f32) return;
  GuardReport values;  // only NaN is judged: masks and padding are constant by design
  for (std::size_t at = 0; at + sizeof(float) <= tensor->data.size(); at += sizeof(float)) {
    float value;
    std::memcpy(&value, tensor->data.data() + at, sizeof value);
    values.add(value);
  }
  report.nan = report.nan || values.nan;
}

template <class T>
std::string check_type(const Payload* payload, const Format&) {
  if (dynamic_cast<const T*>(payload) != nullptr) return "";
  return "expected " + std::string(T().type_name()) + ", found " +
         (payload == nullptr ? "nothing" : std::string(payload->type_name()));
}

}  // namespace

void register_payloads(Registry& registry) {
  registry.add_payload("tensor", wire::decode_tensor);
  registry.add_payload("event", wire::decode_event);
  registry.add_payload_check("tensor", check_type<TensorPayload>);
  registry.add_payload_check("event", check_type<EventPayload>);
  registry.add_guard("tensor", guard_tensor);
}

}  // namespace morph::builtin
