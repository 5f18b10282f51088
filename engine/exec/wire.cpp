// Wire codec: see wire.h.
#include "exec/wire.h"

#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "morph/registry.h"

namespace morph::wire {

namespace {

constexpr std::uint32_t kMagic = 0x544b504d;  // "MPKT"
constexpr std::size_t kChecksumOffset = 12;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0xedb88320u : 0u);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

std::uint32_t frame_crc(std::span<const std::byte> frame) {
  return crc32(frame.subspan(kFrameHeaderBytes), crc32(frame.subspan(4, kChecksumOffset - 4)));
}

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t crc) {
  crc = ~crc;
  for (const std::byte byte : bytes) crc = kCrcTable[(crc ^ static_cast<std::uint32_t>(byte)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

// ---------------------------------------------------------------------------------------------------- Writer

void Writer::number(std::uint64_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; ++i) out_.push_back(static_cast<std::byte>((value >> (8 * i)) & 0xff));
}
void Writer::u8(std::uint8_t value) { number(value, 1); }
void Writer::u16(std::uint16_t value) { number(value, 2); }
void Writer::u32(std::uint32_t value) { number(value, 4); }
void Writer::u64(std::uint64_t value) { number(value, 8); }
void Writer::f32(float value) { u32(std::bit_cast<std::uint32_t>(value)); }
void Writer::f64(double value) { u64(std::bit_cast<std::uint64_t>(value)); }

void Writer::string(std::string_view text) {
  if (text.size() > std::numeric_limits<std::uint32_t>::max())
    throw Error(ErrorCode::internal, "wire", "a text of more than 4 GiB cannot be sent as one value");
  u32(static_cast<std::uint32_t>(text.size()));
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  out_.insert(out_.end(), data, data + text.size());
}

void Writer::bytes(std::span<const std::byte> value) {
  u64(value.size());
  out_.insert(out_.end(), value.begin(), value.end());
}

void Writer::floats(std::span<const float> values) {
  u64(values.size());
  if constexpr (std::endian::native == std::endian::little) {
    const auto raw = std::as_bytes(values);
    out_.insert(out_.end(), raw.begin(), raw.end());
  } else {
    for (const float value : values) f32(value);
  }
}

void Writer::integers(std::span<const std::int32_t> values) {
  u64(values.size());
  for (const std::int32_t value : values) u32(static_cast<std::uint32_t>(value));
}

void Writer::optional(const std::optional<std::uint64_t>& value) {
  boolean(value.has_value());
  if (value) u64(*value);
}

void Writer::value(const Value& value) {
  u8(static_cast<std::uint8_t>(value.index()));
  if (const auto* flag = std::get_if<bool>(&value)) boolean(*flag);
  if (const auto* integer = std::get_if<std::int64_t>(&value)) i64(*integer);
  if (const auto* real = std::get_if<double>(&value)) f64(*real);
  if (const auto* text = std::get_if<std::string>(&value)) string(*text);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    u32(static_cast<std::uint32_t>(list->size()));
    for (const std::string& item : *list) string(item);
  }
}

void Writer::params(const Params& params) {
  u32(static_cast<std::uint32_t>(params.values().size()));
  for (const auto& [name, item] : params.values()) {
    string(name);
    value(item);
  }
}

void Writer::format(const Format& format) {
  string(format.type);
  params(Params(format.fields));
}

// ---------------------------------------------------------------------------------------------------- Reader

void Reader::fail(const std::string& message) const {
  throw Error(ErrorCode::format, where_, message + " at byte " + std::to_string(offset_));
}

std::span<const std::byte> Reader::raw(std::size_t n_bytes) {
  if (n_bytes > left()) fail("expected " + std::to_string(n_bytes) + " bytes, found " + std::to_string(left()));
  const auto view = bytes_.subspan(offset_, n_bytes);
  offset_ += n_bytes;
  return view;
}

std::uint64_t Reader::number(int n_bytes) {
  std::uint64_t value = 0;
  const auto view = raw(static_cast<std::size_t>(n_bytes));
  for (std::size_t i = 0; i < view.size(); ++i) value |= static_cast<std::uint64_t>(view[i]) << (8 * i);
  return value;
}
std::uint8_t Reader::u8() { return static_cast<std::uint8_t>(number(1)); }
std::uint16_t Reader::u16() { return static_cast<std::uint16_t>(number(2)); }
std::uint32_t Reader::u32() { return static_cast<std::uint32_t>(number(4)); }
std::uint64_t Reader::u64() { return number(8); }
float Reader::f32() { return std::bit_cast<float>(u32()); }
double Reader::f64() { return std::bit_cast<double>(u64()); }

bool Reader::boolean() {
  const std::uint8_t value = u8();
  if (value > 1) fail("expected 0 or 1, found " + std::to_string(value));
  return value == 1;
}

std::size_t Reader::count(std::uint64_t n, std::size_t least_bytes) {
  if (n > left() / std::max<std::size_t>(least_bytes, 1))
    fail("a count of " + std::to_string(n) + " does not fit into the " + std::to_string(left()) + " bytes left");
  return static_cast<std::size_t>(n);
}

std::string Reader::string() {
  const auto view = raw(count(u32(), 1));
  return {reinterpret_cast<const char*>(view.data()), view.size()};
}

std::span<const std::byte> Reader::bytes() { return raw(count(u64(), 1)); }

std::vector<float> Reader::floats() {
  std::vector<float> values(count(u64(), sizeof(float)));
  if constexpr (std::endian::native == std::endian::little) {
    const auto view = raw(values.size() * sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), view.data(), view.size());
  } else {
    for (float& value : values) value = f32();
  }
  return values;
}

std::vector<std::int32_t> Reader::integers() {
  std::vector<std::int32_t> values(count(u64(), sizeof(std::int32_t)));
  for (std::int32_t& value : values) value = static_cast<std::int32_t>(u32());
  return values;
}

std::optional<std::uint64_t> Reader::optional() {
  if (!boolean()) return std::nullopt;
  return u64();
}

Value Reader::value() {
  switch (const std::uint8_t kind = u8(); kind) {
    case 0:
      return std::monostate{};
    case 1:
      return boolean();
    case 2:
      return i64();
    case 3:
      return f64();
    case 4:
      return string();
    case 5: {
      std::vector<std::string> list(count(u32(), 4));
      for (std::string& item : list) item = string();
      return list;
    }
    default:
      fail("expected a kind of value from 0 to 5, found " + std::to_string(kind));
  }
}

Params Reader::params() {
  Params params;
  const std::size_t n = count(u32(), 5);
  for (std::size_t i = 0; i < n; ++i) {
    std::string name = string();
    params.set(std::move(name), value());
  }
  return params;
}

Format Reader::format() {
  Format format;
  format.type = string();
  format.fields = params().values();
  return format;
}

void Reader::expect_end() const {
  if (left() != 0) fail(std::to_string(left()) + " bytes too many");
}

// --------------------------------------------------------------------------------------------------- packets

void encode(const Packet& packet, std::vector<std::byte>& out) {
  if (packet.payload && packet.domain != "host")
    throw Error(ErrorCode::internal, "wire", "a payload in " + packet.domain + " must be moved to host memory first");
  const std::size_t start = out.size();
  Writer writer(out);
  writer.u32(kMagic);
  writer.u16(kVersion);
  writer.u16(0);
  writer.u32(0);  // body length and checksum follow below
  writer.u32(0);
  writer.u8(static_cast<std::uint8_t>(packet.kind));
  writer.u32(packet.stream);
  writer.u64(packet.epoch);
  writer.u64(packet.sequence);
  writer.u64(packet.since);
  writer.i64(packet.time.count());
  writer.i64(packet.duration.count());
  writer.boolean(packet.payload != nullptr);
  if (packet.payload) {
    writer.string(packet.payload->type_name());
    packet.payload->encode(out);
  } else if (packet.kind == PacketKind::error) {
    writer.u8(static_cast<std::uint8_t>(packet.error ? packet.error->code() : ErrorCode::internal));
    writer.string(packet.error ? packet.error->where() : "");
    writer.string(packet.error ? packet.error->message() : "unknown error");
  }
  const std::size_t body = out.size() - start - kFrameHeaderBytes;
  if (body > std::numeric_limits<std::uint32_t>::max())
    throw Error(ErrorCode::internal, "wire", "a packet of more than 4 GiB cannot be one frame; send smaller ones");
  const auto patch = [&](std::size_t at, std::uint32_t value) {
    for (std::size_t i = 0; i < 4; ++i) out[start + at + i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
  };
  patch(8, static_cast<std::uint32_t>(body));
  patch(kChecksumOffset, frame_crc(std::span(out).subspan(start)));
}

std::size_t frame_size(std::span<const std::byte> head, const std::string& where) {
  Reader reader(head, where);
  if (reader.u32() != kMagic) reader.fail("this is no packet: it does not start with MPKT");
  if (const std::uint16_t version = reader.u16(); version != kVersion)
    reader.fail("packet version " + std::to_string(version) + ", this build reads " + std::to_string(kVersion));
  if (reader.u16() != 0) reader.fail("unknown flags");
  return kFrameHeaderBytes + reader.u32();
}

Packet decode(std::span<const std::byte> bytes, const Registry& registry, const std::string& where) {
  const std::size_t size = frame_size(bytes, where);
  Reader reader(bytes, where);
  const auto frame = reader.raw(size);
  Reader body(frame, where);
  body.raw(kChecksumOffset);
  if (body.u32() != frame_crc(frame)) body.fail("the checksum does not fit: the bytes are damaged");
  Packet packet;
  const std::uint8_t kind = body.u8();
  if (kind > static_cast<std::uint8_t>(PacketKind::cancel)) body.fail("unknown packet kind " + std::to_string(kind));
  packet.kind = static_cast<PacketKind>(kind);
  packet.stream = body.u32();
  packet.epoch = body.u64();
  packet.sequence = body.u64();
  packet.since = body.u64();
  packet.time = StreamTime(body.i64());
  packet.duration = StreamTime(body.i64());
  if (body.boolean()) {
    const std::string type = body.string();
    const PayloadDecoder* decoder = registry.find_payload(type);
    if (decoder == nullptr) body.fail("payloads of type '" + type + "' are unknown to this build");
    packet.payload = (*decoder)(body.raw(body.left()));
  } else if (packet.kind == PacketKind::error) {
    const std::uint8_t code = body.u8();
    if (code > static_cast<std::uint8_t>(ErrorCode::internal)) body.fail("unknown error code");
    const std::string place = body.string();
    packet.error = std::make_shared<const Error>(static_cast<ErrorCode>(code), place, body.string());
  }
  body.expect_end();
  return packet;
}

std::shared_ptr<const Payload> decode_tensor(std::span<const std::byte> body) {
  Reader reader(body, "tensor");
  auto tensor = std::make_shared<TensorPayload>();
  const std::uint8_t type = reader.u8();
  if (type > static_cast<std::uint8_t>(TensorPayload::Type::u8)) reader.fail("unknown element type");
  tensor->type = static_cast<TensorPayload::Type>(type);
  tensor->shape.resize(reader.count(reader.u32(), sizeof(std::int64_t)));
  constexpr std::size_t kElementBytes[] = {4, 2, 2, 4, 1};
  std::uint64_t expected = kElementBytes[type];
  for (std::int64_t& dimension : tensor->shape) {
    dimension = reader.i64();
    if (dimension < 0) reader.fail("a negative dimension");
    if (__builtin_mul_overflow(expected, static_cast<std::uint64_t>(dimension), &expected))
      reader.fail("too large a shape");
  }
  const auto data = reader.bytes();
  if (data.size() != expected)
    reader.fail("the shape asks for " + std::to_string(expected) + " bytes, found " + std::to_string(data.size()));
  tensor->data.assign(data.begin(), data.end());
  reader.expect_end();
  return tensor;
}

std::shared_ptr<const Payload> decode_event(std::span<const std::byte> body) {
  Reader reader(body, "event");
  auto event = std::make_shared<EventPayload>();
  event->name = reader.string();
  event->values = reader.params();
  reader.expect_end();
  return event;
}

}  // namespace morph::wire

namespace morph {

void TensorPayload::encode(std::vector<std::byte>& out) const {
  wire::Writer writer(out);
  writer.u8(static_cast<std::uint8_t>(type));
  writer.u32(static_cast<std::uint32_t>(shape.size()));
  for (const std::int64_t dimension : shape) writer.i64(dimension);
  writer.bytes(data);
}

void EventPayload::encode(std::vector<std::byte>& out) const {
  wire::Writer writer(out);
  writer.string(name);
  writer.params(values);
}

}  // namespace morph
