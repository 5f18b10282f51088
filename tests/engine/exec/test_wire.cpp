// The wire codec: round trips, and what damaged or hostile bytes get.
#include <catch2/catch.hpp>
#include <cstring>
#include <limits>

#include "exec/wire.h"
#include "morph/registry.h"
#include "testing/stub_stages.h"

namespace morph::builtin {
void register_payloads(Registry& registry);
}

using namespace morph;

namespace {

Registry payload_registry() {
  Registry registry;
  builtin::register_payloads(registry);
  return registry;
}

Packet tensor_packet() {
  auto tensor = std::make_shared<TensorPayload>();
  tensor->shape = {3, 2};
  tensor->data.resize(24);
  const float values[] = {1, -2, 3.5f, 0, std::numeric_limits<float>::quiet_NaN(), 1e30f};
  std::memcpy(tensor->data.data(), values, sizeof values);
  Packet packet = Packet::data<TensorPayload>(tensor, StreamTime(-5), StreamTime(7));
  packet.stream = 9;
  packet.epoch = 1ull << 40;
  packet.sequence = 12;
  packet.since = 11;
  packet.kind = PacketKind::revise;
  return packet;
}

std::vector<std::byte> encoded(const Packet& packet) {
  std::vector<std::byte> bytes;
  wire::encode(packet, bytes);
  return bytes;
}

/// The message of the Error{format} that decoding throws.
std::string refusal(std::span<const std::byte> bytes, const Registry& registry) {
  try {
    wire::decode(bytes, registry, "peer");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::format);
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("crc32 is the IEEE one and can be continued", "[unit]") {
  const std::string text = "123456789";
  const auto bytes = std::as_bytes(std::span(text));
  CHECK(wire::crc32(bytes) == 0xcbf43926u);
  CHECK(wire::crc32(bytes.subspan(4), wire::crc32(bytes.subspan(0, 4))) == 0xcbf43926u);
}

TEST_CASE("packets come back as they were", "[unit]") {
  const Registry registry = payload_registry();
  const Packet sent = tensor_packet();
  const auto bytes = encoded(sent);
  CHECK(wire::frame_size(std::span(bytes).subspan(0, wire::kFrameHeaderBytes), "peer") == bytes.size());
  const Packet got = wire::decode(bytes, registry, "peer");
  CHECK(got.kind == sent.kind);
  CHECK(got.stream == sent.stream);
  CHECK(got.epoch == sent.epoch);
  CHECK(got.sequence == sent.sequence);
  CHECK(got.since == sent.since);
  CHECK(got.time == sent.time);
  CHECK(got.duration == sent.duration);
  CHECK(got.as<TensorPayload>().shape == sent.as<TensorPayload>().shape);
  CHECK(got.as<TensorPayload>().data == sent.as<TensorPayload>().data);

  for (const PacketKind kind : {PacketKind::flush, PacketKind::end, PacketKind::cancel}) {
    Packet packet;
    packet.kind = kind;
    packet.epoch = 3;
    const Packet back = wire::decode(encoded(packet), registry, "peer");
    CHECK(back.kind == kind);
    CHECK(back.epoch == 3);
    CHECK_FALSE(back.payload);
  }
  Packet failed;
  failed.kind = PacketKind::error;
  failed.error = std::make_shared<const Error>(ErrorCode::weights, "model/tensor", "missing");
  const Packet back = wire::decode(encoded(failed), registry, "peer");
  REQUIRE(back.error);
  CHECK(back.error->code() == ErrorCode::weights);
  CHECK(back.error->where() == "model/tensor");
  CHECK(back.error->message() == "missing");
}

TEST_CASE("values of every kind come back", "[unit]") {
  auto event = std::make_shared<EventPayload>();
  event->name = "all";
  event->values.set("none", Value{});
  event->values.set("flag", true);
  event->values.set("integer", std::int64_t{-1});
  event->values.set("real", 0.1);
  event->values.set("text", std::string("\0zero", 5));
  event->values.set("list", std::vector<std::string>{"a", "", "c"});
  const Registry registry = payload_registry();
  const Packet back = wire::decode(encoded(Packet::data<EventPayload>(event)), registry, "peer");
  CHECK(back.as<EventPayload>().name == "all");
  CHECK(back.as<EventPayload>().values.values() == event->values.values());

  std::vector<std::byte> bytes;
  wire::Writer writer(bytes);
  const Format format{"audio/pcm", {{"rate", std::int64_t{16000}}}};
  const std::vector<float> samples = {0.5f, -1.0f};
  writer.format(format);
  writer.floats(samples);
  writer.f32(2.5f);
  wire::Reader reader(bytes, "peer");
  CHECK(reader.format() == format);
  CHECK(reader.floats() == samples);
  CHECK(reader.f32() == 2.5f);
  reader.expect_end();
}

TEST_CASE("every truncation and every flipped bit is refused with a named error", "[unit]") {
  const Registry registry = payload_registry();
  const auto bytes = encoded(tensor_packet());
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK(refusal(std::span(bytes).subspan(0, n), registry) != "accepted");
  for (std::size_t i = 0; i < bytes.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      auto damaged = bytes;
      damaged[i] ^= static_cast<std::byte>(1 << bit);
      CHECK(refusal(damaged, registry) != "accepted");
    }
}

TEST_CASE("what is wrong is said", "[unit]") {
  const Registry registry = payload_registry();
  CHECK(refusal(std::as_bytes(std::span("not a packet at all")), registry).find("MPKT") != std::string::npos);
  const auto bytes = encoded(tensor_packet());
  auto newer = bytes;
  newer[4] = std::byte{9};
  CHECK(refusal(newer, registry).find("version 9") != std::string::npos);
  CHECK(refusal(bytes, Registry()).find("'tensor'") != std::string::npos);
}

TEST_CASE("counts that do not fit allocate nothing", "[unit]") {
  std::vector<std::byte> bytes;
  wire::Writer writer(bytes);
  writer.u64(std::numeric_limits<std::uint64_t>::max());
  CHECK_THROWS_AS(wire::Reader(bytes, "peer").floats(), Error);
  CHECK_THROWS_AS(wire::Reader(bytes, "peer").bytes(), Error);
  CHECK_THROWS_AS(wire::Reader(bytes, "peer").string(), Error);
  CHECK_THROWS_AS(wire::Reader(bytes, "peer").params(), Error);

  std::vector<std::byte> body;
  wire::Writer shape(body);
  shape.u8(0);
  shape.u32(4);
  for (int i = 0; i < 4; ++i) shape.i64(std::numeric_limits<std::int64_t>::max());
  shape.u64(0);
  CHECK_THROWS_AS(wire::decode_tensor(body), Error);
}

TEST_CASE("a payload outside host memory is not encoded", "[unit]") {
  Packet packet = tensor_packet();
  packet.domain = "cuda:0";
  std::vector<std::byte> bytes;
  CHECK_THROWS_AS(wire::encode(packet, bytes), Error);
}
