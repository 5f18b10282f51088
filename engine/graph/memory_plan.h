// The memory plan: what a set of plans makes the process resident with at its worst, from the stages' estimates.
//
// Counted once per process: the process itself, each library's runtime (by runtime_key), each loaded model (by
// weights_key) and the scratch that a loaded stage keeps for all its runs. Counted per node: session and other scratch.
// Counted per link: queue times the producer's packet. Loading runs at most two loads at once, so the two largest
// loading peaks add up. Stages on a device with a memory of its own put weights, sessions and scratch there; their
// runtime, loading peak and packets stay in the host's.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "graph/memory_claim.h"
#include "morph/device.h"
#include "morph/pipeline.h"

namespace morph {

/// What a plan claims.
struct PlanClaims {
  Claims loaded;                ///< from loading on; every one has a key, so that claiming it again costs nothing
  Claims run;                   ///< more, for each run
  std::uint64_t load_peak = 0;  ///< more on the host while it loads, gone afterwards
};
PlanClaims plan_claims(const Plan& plan);

/// Key that every plan claims, with no bytes, which holds the stage of that key.
std::string stage_claim_key(const std::string& stage_key);
/// Key of the pool of that stage's sessions (Estimate::session_pooled).
std::string pool_claim_key(const std::string& stage_key);

MemoryPlan plan_memory(std::span<const Plan* const> plans, std::uint64_t process_bytes);

/// A stage's own part on its device: weights, session and scratch.
std::uint64_t stage_bytes(const PlanNode& node);

/// "1.2 GiB", "512 KiB", "0".
std::string to_bytes_text(std::uint64_t bytes);

/// Error findings for what does not fit: the host's limit, and each device's free memory. `estimate_with` works out a
/// node's estimate with other parameters (it may throw Error); it is asked for what would fit instead.
std::vector<Diagnostic> check_memory(const Plan& plan, std::uint64_t limit, const std::string& limit_is,
                                     const std::vector<DeviceInfo>& devices,
                                     const std::function<Estimate(const PlanNode&, const Params&)>& estimate_with);

}  // namespace morph
