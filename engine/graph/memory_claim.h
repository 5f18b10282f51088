// Claims: what somebody needs of a memory, as the memory plan works it out and the ledger (host/ledger.h) books it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace morph {

inline constexpr const char* kHostMemory = "cpu";

enum class MemoryKind : std::uint8_t { library, weights, session, scratch, link, loading };
std::string_view to_string(MemoryKind kind);  ///< "libraries", "weights", ...

/// Bytes in one memory. Claims with one place and key are about one thing: it is as large as the largest claim to the
/// whole of it, or as all claims to a part of it together, whichever is more. A pool of caches is claimed whole by who
/// keeps it and in parts by who uses it; a loaded model is only ever claimed whole.
struct Claim {
  std::string place = kHostMemory;  ///< "cpu" is the host's memory, else a device's id
  MemoryKind kind = MemoryKind::session;
  std::string key;  ///< empty: shared with nobody
  std::uint64_t bytes = 0;
  bool part = false;
};

using Claims = std::vector<Claim>;

/// One thing that claims with a key are about.
class ClaimedThing {
 public:
  void add(const Claim& claim);
  std::uint64_t bytes() const { return whole_ > parts_ ? whole_ : parts_; }

 private:
  std::uint64_t whole_ = 0, parts_ = 0;
};

/// Sums and differences that stop at the ends of the type: estimates may come from hostile headers.
std::uint64_t plus(std::uint64_t a, std::uint64_t b);
std::uint64_t minus(std::uint64_t a, std::uint64_t b);

/// Key of the weights that are leased on one device (StageMemory::lease): who leases claims parts of it.
inline constexpr const char* kLeasedWeights = "leased";

}  // namespace morph
