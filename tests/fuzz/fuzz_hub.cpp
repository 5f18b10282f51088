// Any bytes as a hub's listing of a model: understood, or an Error{format} says why not; what is understood stays
// inside its folder, has sizes whose sum is one, and hashes that are hashes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "morph/error.h"
#include "morph/hub.h"
#include "morph/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace morph;
  try {
    const HubModel model = parse_hub_listing({reinterpret_cast<const char*>(data), size}, "fuzz");
    std::uint64_t total = 0;
    for (const HubFile& file : select_files(model, {})) {
      if (file.path.front() == '/' || file.path.find("..") == 0 || shown_text(file.path) != file.path) std::abort();
      if (total + file.bytes < total) std::abort();
      total += file.bytes;
      if (!file.sha256.empty() && file.sha256.size() != 64) std::abort();
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::format) std::abort();
  }
  return 0;
}
