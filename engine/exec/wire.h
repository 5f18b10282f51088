// Wire codec: packets as bytes, for checkpoints, farm jobs, remote executors, recordings and tests.
//
// A frame is  magic "MPKT" | version u16 | flags u16 (0) | body length u32 | CRC-32 of version..length and body u32 |
// body.  Everything is little endian. Reader checks every length against what is there, so hostile bytes end in a
// named error and never in a large allocation. Payloads append their own bodies with Writer and are read back by the
// decoder that their modality registered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "morph/format.h"
#include "morph/packet.h"
#include "morph/value.h"

namespace morph {
class Registry;
}

namespace morph::wire {

inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::size_t kFrameHeaderBytes = 16;

/// CRC-32 (IEEE 802.3), continued from `crc`.
std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t crc = 0);

/// Appends values to a vector it does not own.
class Writer {
 public:
  explicit Writer(std::vector<std::byte>& out) : out_(out) {}
  void u8(std::uint8_t value);
  void u16(std::uint16_t value);
  void u32(std::uint32_t value);
  void u64(std::uint64_t value);
  void i64(std::int64_t value) { u64(static_cast<std::uint64_t>(value)); }
  void f32(float value);
  void f64(double value);
  void boolean(bool value) { u8(value ? 1 : 0); }
  void string(std::string_view text);                        ///< length u32, bytes
  void bytes(std::span<const std::byte> value);              ///< length u64, bytes
  void floats(std::span<const float> values);                ///< count u64, values
  void integers(std::span<const std::int32_t> values);       ///< count u64, values
  void optional(const std::optional<std::uint64_t>& value);  ///< flag u8, value where there is one
  void value(const Value& value);
  void params(const Params& params);
  void format(const Format& format);

 private:
  void number(std::uint64_t value, int n_bytes);
  std::vector<std::byte>& out_;
};

/// Reads what Writer wrote. Every call throws Error{format} with `where` and the offset when the bytes do not hold it.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}
  std::uint8_t u8();
  std::uint16_t u16();
  std::uint32_t u32();
  std::uint64_t u64();
  std::int64_t i64() { return static_cast<std::int64_t>(u64()); }
  float f32();
  double f64();
  bool boolean();
  std::string string();
  std::span<const std::byte> bytes();  ///< a view into what is read
  std::vector<float> floats();
  std::vector<std::int32_t> integers();
  std::optional<std::uint64_t> optional();
  Value value();
  Params params();
  Format format();
  /// A count of things of at least `least_bytes` each, checked against what is left.
  std::size_t count(std::uint64_t n, std::size_t least_bytes);
  std::span<const std::byte> raw(std::size_t n_bytes);
  std::size_t left() const { return bytes_.size() - offset_; }
  std::size_t offset() const { return offset_; }
  /// Throws when something is left.
  void expect_end() const;
  [[noreturn]] void fail(const std::string& message) const;

 private:
  std::uint64_t number(int n_bytes);
  std::span<const std::byte> bytes_;
  std::size_t offset_ = 0;
  std::string where_;
};

/// Appends the packet as one frame. Throws Error{internal} for a payload outside host memory.
void encode(const Packet& packet, std::vector<std::byte>& out);
/// Whole size of the frame that starts with these kFrameHeaderBytes bytes. Throws Error{format}.
std::size_t frame_size(std::span<const std::byte> head, const std::string& where);
/// Reads one frame from the front of `bytes`. Throws Error{format} for damaged bytes and for payload types that
/// `registry` does not know.
Packet decode(std::span<const std::byte> bytes, const Registry& registry, const std::string& where);

/// Decoders of the engine's own payloads.
std::shared_ptr<const Payload> decode_tensor(std::span<const std::byte> body);
std::shared_ptr<const Payload> decode_event(std::span<const std::byte> body);

}  // namespace morph::wire
