// libFuzzer target: any bytes as a packet frame (with and without a correct checksum), as payload bodies, and as a
// format. Only morph::Error may come out.
#include <cstdint>
#include <span>
#include <vector>

#include "exec/wire.h"
#include "morph/registry.h"

namespace {

template <class F>
void tolerate(const F& action) {
  try {
    action();
  } catch (const morph::Error&) {
  }
}

const morph::Registry& registry() {
  static const morph::Registry filled = [] {
    morph::Registry made;
    morph::register_everything(made);
    return made;
  }();
  return filled;
}

/// The same bytes with length and checksum put right, so that the body is reached.
std::vector<std::byte> mended(std::span<const std::byte> body) {
  std::vector<std::byte> frame;
  morph::wire::Writer writer(frame);
  writer.u32(0x544b504d);
  writer.u16(morph::wire::kVersion);
  writer.u16(0);
  writer.u32(static_cast<std::uint32_t>(body.size()));
  const std::uint32_t head = morph::wire::crc32(std::span(frame).subspan(4));
  writer.u32(morph::wire::crc32(body, head));
  frame.insert(frame.end(), body.begin(), body.end());
  return frame;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  tolerate([&] { morph::wire::decode(bytes, registry(), "fuzz"); });
  tolerate([&] {
    const morph::Packet packet = morph::wire::decode(mended(bytes), registry(), "fuzz");
    std::vector<std::byte> again;
    morph::wire::encode(packet, again);
    morph::wire::decode(again, registry(), "fuzz");
  });
  tolerate([&] { morph::wire::decode_tensor(bytes); });
  tolerate([&] { morph::wire::decode_event(bytes); });
  tolerate([&] { morph::wire::Reader(bytes, "fuzz").format(); });
  return 0;
}
