// Executor: the threads that drive a Scheduler. Each serves one lane: it picks a step, runs it without the lock, and
// reports back. One more destroys the states of finished nodes, so that neither a caller of Run::cancel nor a worker
// waits for it.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "exec/executors.h"
#include "exec/scheduler.h"

namespace morph::exec {

/// Thread-safe. `mutex()` guards the scheduler and every RunGraph it knows.
class Executors::Core : public std::enable_shared_from_this<Executors::Core> {
 public:
  /// Makes no thread yet.
  explicit Core(ExecutorsOptions options);
  ~Core();

  std::mutex& mutex() { return mutex_; }
  Scheduler& scheduler() { return scheduler_; }
  const ExecutorsOptions& options() const { return options_; }
  StreamTime now() const { return options_.clock(); }
  int n_threads() const { return n_threads_; }

  /// Wakes the threads of lanes where something became ready. Call with the lock held after changing anything.
  void dispatch();
  /// Makes the light workers. Throws Error{resource} when the system gives no thread; stop() joins those there are.
  void start_workers();
  /// Starts the scheduler on the graph and threads for its heavy and blocking lanes. When the system gives no thread
  /// the run fails with Error{resource}, which is also thrown. Lock held.
  void start(const std::shared_ptr<RunGraph>& graph);
  /// Joins the graph's blocking threads; the run must be quiescent. Lock not held.
  void join_blocking(const RunGraph& graph);
  /// Stops and joins every thread.
  void stop();

 private:
  struct Lane {
    std::condition_variable ready;
    int n_sleeping = 0;
    bool has_thread = false;
  };
  struct BlockingThread {
    const RunGraph* graph;
    std::thread thread;
  };

  Lane& lane(LaneId id);
  std::thread make_thread(const std::string& where, std::function<void()> body) const;
  void add_worker(LaneId id, const std::string& name, const std::string& where);
  void add_threads(const std::shared_ptr<RunGraph>& graph);
  void work(LaneId id, const std::string& name, const GraphNode* only);
  void run_step(std::unique_lock<std::mutex>& lock, Step& step, const std::string& thread_name);
  void destroy_garbage();

  ExecutorsOptions options_;
  int n_threads_ = 1;
  std::mutex mutex_;
  Scheduler scheduler_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<std::thread> workers_;
  std::vector<BlockingThread> blocking_;
  std::condition_variable garbage_ready_;
  bool stopping_ = false;
};

/// Runs a step: flushes, steps, guards. Throws std::bad_alloc at most. Of a batch that throws, items that were
/// not touched are to be stepped again alone; the others end with what was thrown.
std::vector<StepResult> execute(const Step& step, const Registry* registry);

}  // namespace morph::exec
