// Executor: see executor.h.
#include "exec/executor.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <system_error>
#include <utility>

#include "exec/guards.h"
#include "exec/step_error.h"
#include "morph/log.h"

namespace morph::exec {

namespace {
constexpr int kLightWorkers = 2;
}

std::vector<StepResult> execute(const Step& step, const Registry* registry) {
  std::vector<StepResult> results(step.items.size());
  std::vector<StepItem> batch;
  std::vector<std::size_t> positions;
  batch.reserve(step.items.size());
  for (std::size_t i = 0; i < step.items.size(); ++i) {
    GraphNode& node = *step.items[i].node;
    try {
      for (const auto& [input, epoch] : step.items[i].flushes) node.state->flush_input(input, epoch);
      batch.push_back({node.state.get(), &node.io});
      positions.push_back(i);
    } catch (...) {
      results[i].error = current_error(node.where);
    }
  }
  try {
    if (!batch.empty()) step.stage->step(batch);
  } catch (...) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const GraphNode& node = *step.items[positions[i]].node;
      if (batch[i].error) continue;
      if (batch.size() > 1 && node.io.untouched() && !node.io.observer_error) {
        results[positions[i]].again = true;
        results[positions[i]].status = StepStatus::ready;
      } else {
        batch[i].error = current_error(node.where);
      }
    }
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    StepResult& result = results[positions[i]];
    GraphNode& node = *step.items[positions[i]].node;
    if (result.again) continue;
    if ((result.error = node.io.observer_error)) continue;
    if (batch[i].error) {
      result.error = placed(batch[i].error, node.where);
      continue;
    }
    result.status = batch[i].status;
    try {
      GuardFindings findings = guard_step(registry, node, result.status == StepStatus::done);
      result.error = std::move(findings.error);
      result.warnings = std::move(findings.warnings);
    } catch (...) {
      result.error = current_error(node.where);
    }
  }
  return results;
}

Executors::Core::Core(ExecutorsOptions options) : options_(std::move(options)) {
  const auto hardware = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  n_threads_ = options_.n_threads > 0 ? options_.n_threads : hardware;
  if (!options_.clock) {
    options_.clock = [] {
      return std::chrono::duration_cast<StreamTime>(std::chrono::steady_clock::now().time_since_epoch());
    };
  }
}

void Executors::Core::start_workers() {
  const std::lock_guard lock(mutex_);
  for (int i = 0; i < kLightWorkers; ++i) add_worker(kLightLane, "light " + std::to_string(i), "executors");
  workers_.reserve(workers_.size() + 1);
  workers_.push_back(make_thread("executors", [this] { destroy_garbage(); }));
}

Executors::Core::~Core() { stop(); }

void Executors::Core::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (auto& lane : lanes_) lane->ready.notify_all();
    garbage_ready_.notify_all();
  }
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  for (BlockingThread& one : blocking_) one.thread.join();
  blocking_.clear();
}

Executors::Core::Lane& Executors::Core::lane(LaneId id) {
  while (lanes_.size() <= id) lanes_.push_back(std::make_unique<Lane>());
  return *lanes_[id];
}

std::thread Executors::Core::make_thread(const std::string& where, std::function<void()> body) const {
  try {
    return options_.make_thread ? options_.make_thread(std::move(body)) : std::thread(std::move(body));
  } catch (const std::system_error& error) {
    throw Error(ErrorCode::resource, where,
                std::string("the system gives no further thread (") + error.what() +
                    "); let other runs end first, or raise the limit on processes (ulimit -u)");
  }
}

void Executors::Core::add_worker(LaneId id, const std::string& name, const std::string& where) {
  lane(id);
  workers_.reserve(workers_.size() + 1);  // a thread without a place in the list could not be joined
  workers_.push_back(make_thread(where, [this, id, name] { work(id, name, nullptr); }));
  lane(id).has_thread = true;
}

void Executors::Core::start(const std::shared_ptr<RunGraph>& graph) {
  scheduler_.start(graph, now());
  try {
    add_threads(graph);
  } catch (const Error& error) {
    scheduler_.fail(*graph, std::make_shared<const Error>(error), now());
    dispatch();
    throw;
  }
  dispatch();
}

void Executors::Core::add_threads(const std::shared_ptr<RunGraph>& graph) {
  for (const auto& node : graph->nodes) {
    if (!node->stage) continue;
    if (node->spec->load == StageLoad::heavy && !lane(node->lane).has_thread)
      add_worker(node->lane, "heavy " + node->device, node->where);
    if (node->spec->load == StageLoad::blocking && node->phase != NodePhase::done) {
      lane(node->lane);
      blocking_.reserve(blocking_.size() + 1);
      blocking_.push_back({graph.get(), make_thread(node->where, [this, graph, node = node.get(), id = node->lane] {
                             work(id, node->where, node);
                           })});
    }
  }
}

void Executors::Core::join_blocking(const RunGraph& graph) {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    for (BlockingThread& one : blocking_)
      if (one.graph == &graph) threads.push_back(std::move(one.thread));
    std::erase_if(blocking_, [](const BlockingThread& one) { return !one.thread.joinable(); });
  }
  for (std::thread& thread : threads) thread.join();
}

void Executors::Core::dispatch() {
  if (scheduler_.has_garbage()) garbage_ready_.notify_one();
  for (const LaneId id : scheduler_.take_signals()) {
    Lane& signalled = lane(id);
    if (signalled.n_sleeping == 0) continue;
    if (scheduler_.n_ready(id) > 1) {
      signalled.ready.notify_all();
    } else {
      signalled.ready.notify_one();
    }
  }
}

/// The thread that destroys states: one may wait for a lock that a long step holds (a session's), and no worker waits
/// with it.
void Executors::Core::destroy_garbage() {
  std::unique_lock lock(mutex_);
  for (;;) {
    std::vector<Scheduler::Garbage> all = scheduler_.take_garbage();
    if (all.empty()) {
      if (stopping_) return;
      garbage_ready_.wait(lock);
      continue;
    }
    for (Scheduler::Garbage& garbage : all) {
      const std::size_t n_states = garbage.states.size();
      lock.unlock();
      garbage.states.clear();
      lock.lock();
      scheduler_.garbage_gone(*garbage.graph, n_states);
      lock.unlock();  // this may be the last reference to a run and its models
      garbage.graph.reset();
      lock.lock();
    }
  }
}

/// `only`: the node of a blocking thread, which ends with it.
void Executors::Core::work(LaneId id, const std::string& name, const GraphNode* only) {
  std::unique_lock lock(mutex_);
  Lane& mine = lane(id);
  while (!stopping_) {
    if (only != nullptr && only->phase == NodePhase::done) return;
    if (std::optional<Step> step = scheduler_.pick(id, now())) {
      run_step(lock, *step, name);
      continue;
    }
    ++mine.n_sleeping;
    mine.ready.wait(lock);
    --mine.n_sleeping;
  }
}

void Executors::Core::run_step(std::unique_lock<std::mutex>& lock, Step& step, const std::string& thread_name) {
  lock.unlock();
  std::vector<StepResult> results;
  try {
    results = execute(step, options_.registry);
  } catch (const std::bad_alloc&) {  // an edge: there was not even room for results
    results.clear();
  }
  lock.lock();
  const StreamTime ended = now();
  try {
    for (const Step::Item& item : step.items)
      if (item.graph->trace)
        item.graph->trace->slice(thread_name, item.node->name, step.begun, ended - step.begun, step.items.size());
  } catch (const std::bad_alloc&) {  // an edge: a trace that has a gap matters less than the run
    log(LogLevel::warning, "exec/trace", "out of memory: a step is missing from a trace");
  }
  scheduler_.complete(step, results, ended);
  dispatch();
  lock.unlock();  // these may be the last references to a run and its models
  step.items.clear();
  step.stage.reset();
  lock.lock();
}

}  // namespace morph::exec
