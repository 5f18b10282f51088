// Executors: the threads of an engine and the scheduler they drive. The Engine facade makes one and asks it for runs.
//
// One lane of heavy steps per device (a heavy step has the whole thread budget), a few light workers, one thread per
// blocking node. All decisions are the Scheduler's (scheduler.h); this only runs them.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "morph/checkpoint.h"
#include "morph/packet.h"
#include "morph/pipeline.h"
#include "morph/run.h"
#include "morph/stage.h"

namespace morph {

class Registry;

namespace exec {

struct ExecutorsOptions {
  int n_threads = 0;                   ///< budget of a heavy step; 0 = hardware threads
  const Registry* registry = nullptr;  ///< guards and payload decoders; outlives the executors; null: neither
  std::function<StreamTime()> clock;   ///< monotonic time; empty = std::chrono::steady_clock
  /// Makes a thread or throws std::system_error; empty = std::thread.
  std::function<std::thread(std::function<void()>)> make_thread{};
};

/// The head of a run's checkpoints, asked for when the first is written; run options are filled in by the executors.
using RunOrigin = std::function<Checkpoint()>;

/// Thread-safe. Outlives its runs; wakers may outlive it.
class Executors {
 public:
  /// Throws Error{resource} when the system gives no thread; those that were made are then joined.
  explicit Executors(ExecutorsOptions options);
  /// Joins all threads. Every run must have been destroyed.
  ~Executors();
  Executors(const Executors&) = delete;
  Executors& operator=(const Executors&) = delete;

  /// A run that has not started. `stages` has one entry per Plan::nodes; null for nodes with app_feed or app_read.
  /// `origin` may be empty: a checkpoint then names the plan's own document and no files. Throws Error{internal} when
  /// plan and stages do not fit together, Error{config} for RunOptions::checkpoint (see there).
  std::unique_ptr<Run> create(std::shared_ptr<const Plan> plan, std::vector<std::shared_ptr<const Stage>> stages,
                              RunOptions options, RunOrigin origin = {});
  /// A run that goes on from a checkpoint once started. `plan` must be what compiling the header's pipeline gives.
  /// Seed, priority and strict are the file's. Throws Error{format} for a damaged file, Error{pipeline} for another
  /// pipeline's, Error{config} for one that is finished or worked on by another process.
  std::unique_ptr<Run> resume(std::shared_ptr<const Plan> plan, std::vector<std::shared_ptr<const Stage>> stages,
                              const std::filesystem::path& file, RunOptions options, RunOrigin origin = {});
  int n_threads() const;

  class Core;  ///< executor.h; for this folder only

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace exec
}  // namespace morph
