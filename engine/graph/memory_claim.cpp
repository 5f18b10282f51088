// See memory_claim.h.
#include "graph/memory_claim.h"

#include <algorithm>
#include <limits>

namespace morph {

std::uint64_t plus(std::uint64_t a, std::uint64_t b) {
  return a > std::numeric_limits<std::uint64_t>::max() - b ? std::numeric_limits<std::uint64_t>::max() : a + b;
}

std::uint64_t minus(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

std::string_view to_string(MemoryKind kind) {
  constexpr std::string_view kNames[] = {"libraries", "weights", "sessions", "scratch", "queues", "loading"};
  return kNames[static_cast<std::size_t>(kind)];
}

void ClaimedThing::add(const Claim& claim) {
  if (claim.part)
    parts_ = plus(parts_, claim.bytes);
  else
    whole_ = std::max(whole_, claim.bytes);
}

}  // namespace morph
