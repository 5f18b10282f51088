// Memory that stages ask for after they were loaded: growth, and weights that share a small device by taking turns.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "morph/model.h"

namespace morph {

/// Weights that leave their place between uses when somebody else needs it.
struct WeightLease {
  std::string key;          ///< same key on one device: the same weights
  std::uint64_t bytes = 0;  ///< on the device
  std::function<std::shared_ptr<const Model>()> load;
};

/// A loaded stage's way to the engine's books, bound to its device. Thread-safe; may outlive the engine.
class StageMemory {
 public:
  virtual ~StageMemory() = default;
  /// Room for `bytes` more, until the result goes. What is loaded and unused elsewhere makes room first. Throws
  /// Error{resource} that says who holds what. `what` is for that text: "room for more conversations".
  virtual std::shared_ptr<void> take(std::uint64_t bytes, std::string_view what) = 0;
  /// How much the stage keeps for the sessions of its states together (Estimate::session_pooled), used or not; instead
  /// of what was said before. Throws like take(), and the older size then stands.
  virtual void keep_pool(std::uint64_t bytes) = 0;
  /// Weights for as long as the result lives, which should be a step: loaded unless they are there, after pushing out
  /// leased weights that nobody uses now. Leased weights that are in use stay, so that a step asks for what it needs
  /// together at once. Throws like take(), and what loading throws. The plan counts on it when the stage's estimate
  /// says Estimate::weights_leased.
  virtual std::shared_ptr<const Model> lease(const WeightLease& wanted) = 0;
};

/// One line of what the engine has booked.
struct MemoryLine {
  std::string place;  ///< "cpu" (the host's memory) or a device's id
  std::string kind;   ///< "weights", "sessions", ...
  std::string who;    ///< pipelines and stages, separated by ", "
  std::uint64_t bytes = 0;
  std::uint64_t held = 0;  ///< of them, what is in memory already; the rest is planned
};

struct MemoryPlace {
  std::string place;
  std::uint64_t limit = 0;  ///< most that this process may hold there; 0: unknown
  std::uint64_t bytes = 0, held = 0;
};

struct MemoryReport {
  std::vector<MemoryPlace> places;  ///< the host first
  std::vector<MemoryLine> lines;    ///< largest first; without the bare process
};

/// Whether an exception is a failed allocation, mapping or thread: by its type, or by what a library says in it.
bool is_short_of_memory(const std::exception& error);

}  // namespace morph
