// libFuzzer target: any bytes as the head of a checkpoint file, as they are and with the checksum put right. Only
// morph::Error may come out.
#include <cstdint>
#include <span>
#include <vector>

#include "exec/checkpoint.h"
#include "exec/checkpoint_header.h"
#include "morph/error.h"

namespace {

void tolerate(std::span<const std::byte> bytes) {
  try {
    morph::exec::parse_checkpoint(bytes, "fuzz");
  } catch (const morph::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  tolerate(bytes);
  std::vector<std::byte> mended = morph::exec::checkpoint_head(bytes);
  mended.insert(mended.end(), bytes.begin(), bytes.end());
  tolerate(mended);
  return 0;
}
