// Admission: which runs are live, and whether one more fits beside them.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>

#include "morph/pipeline.h"
#include "morph/run.h"

namespace morph {

/// Thread-safe; a ticket keeps it alive, so runs may outlast its owner.
class Admission {
 public:
  /// Counts `plan` as live until the ticket is gone. Throws Error{resource} when all live plans and this one together
  /// need more than the smallest budget among them, or than `machine_limit` (0 = unknown).
  std::shared_ptr<void> enter(const std::shared_ptr<Admission>& self, std::shared_ptr<const Plan> plan,
                              std::uint64_t process_bytes, std::uint64_t machine_limit);

 private:
  std::mutex mutex_;
  std::list<std::shared_ptr<const Plan>> live_;
};

/// `run` with its ticket: the ticket goes when the run is destroyed.
std::unique_ptr<Run> admitted(std::unique_ptr<Run> run, std::shared_ptr<void> ticket);

}  // namespace morph
