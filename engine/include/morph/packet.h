// Packet: a shared immutable value travelling on a link, with its place in the stream.
//
// Besides data there are `revise` (supersedes what was sent since a sequence number: a recogniser's tail), `flush`
// (a new epoch: barge-in, everything older is dropped) and three ways for a stream to end, which a receiver can
// tell apart: end, error, cancel.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "morph/error.h"
#include "morph/format.h"

namespace morph {

/// Time within a stream, from its beginning. Decisions use stream time, never arrival time.
using StreamTime = std::chrono::nanoseconds;

/// Base of what packets carry. Immutable once it is in a packet; shared between links and threads.
/// Modalities derive their own (Text, AudioChunk, Image); the engine ships TensorPayload and EventPayload.
class Payload {
 public:
  virtual ~Payload() = default;
  /// Name of the type in the wire codec and the registry, e.g. "audio.chunk".
  virtual std::string_view type_name() const = 0;
  /// Host memory held, for link accounting.
  virtual std::size_t bytes() const = 0;
  /// Appends the value in the wire codec's body form (see engine/exec/wire.h); the registry holds the decoder.
  virtual void encode(std::vector<std::byte>& out) const = 0;
};

/// Says when a device value is ready. Host values have none.
class Fence {
 public:
  virtual ~Fence() = default;
  virtual bool ready() const = 0;
  virtual void wait() const = 0;
};

enum class PacketKind : std::uint8_t { data, revise, flush, end, error, cancel };

struct Packet {
  PacketKind kind = PacketKind::data;
  std::shared_ptr<const Payload> payload;  ///< null for flush, end, error, cancel
  std::uint32_t stream = 0;
  std::uint64_t epoch = 0;     ///< raised by flush; the scheduler drops queued packets of older epochs
  std::uint64_t sequence = 0;  ///< set by the link when pushed: 0, 1, 2, ... per output port
  std::uint64_t since = 0;     ///< revise: this supersedes every packet with sequence >= since
  StreamTime time{0};
  StreamTime duration{0};
  std::string domain = "host";         ///< memory domain of the payload: "host" or a device id
  std::shared_ptr<const Fence> ready;  ///< for device domains
  std::shared_ptr<const Error> error;  ///< for PacketKind::error

  template <class T>
  static Packet data(std::shared_ptr<const T> value, StreamTime time = StreamTime{0},
                     StreamTime duration = StreamTime{0}) {
    Packet packet;
    packet.payload = std::move(value);
    packet.time = time;
    packet.duration = duration;
    return packet;
  }
  static Packet flush(std::uint64_t epoch) {
    Packet packet;
    packet.kind = PacketKind::flush;
    packet.epoch = epoch;
    return packet;
  }

  /// The payload as T; throws Error{internal} naming both types when it is another (a port's format promises the type).
  template <class T>
  const T& as() const {
    const T* value = dynamic_cast<const T*>(payload.get());
    if (value == nullptr)
      throw Error(ErrorCode::internal, "packet",
                  std::string("payload is ") + (payload ? std::string(payload->type_name()) : "absent") +
                      ", not what the port's format promises");
    return *value;
  }
  template <class T>
  std::shared_ptr<const T> share() const {
    return std::dynamic_pointer_cast<const T>(payload);
  }
  bool ends_stream() const {
    return kind == PacketKind::end || kind == PacketKind::error || kind == PacketKind::cancel;
  }
};

/// A dense host tensor, innermost dimension first (ggml order). Format type "tensor".
class TensorPayload final : public Payload {
 public:
  enum class Type : std::uint8_t { f32, f16, bf16, i32, u8 };
  Type type = Type::f32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> data;
  std::string_view type_name() const override { return "tensor"; }
  std::size_t bytes() const override { return data.size(); }
  void encode(std::vector<std::byte>& out) const override;
};

/// A named happening with values. Format type "event".
class EventPayload final : public Payload {
 public:
  std::string name;
  Params values;
  std::string_view type_name() const override { return "event"; }
  std::size_t bytes() const override { return name.size() + 64 * values.values().size(); }
  void encode(std::vector<std::byte>& out) const override;
};

}  // namespace morph
