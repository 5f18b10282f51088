// Scheduler: decides which stage runs next. A deterministic state machine without threads and without a clock of its
// own: its owner (executor.h, or a test) holds one lock around it, passes the time in, runs the steps it hands out and
// reports how they ended.
//
// A node is runnable when what its last step answered says so (StepStatus, as in ClickHouse's IProcessor) and none of
// its blocking output links is full. Ready nodes wait in lanes: one lane of light steps, one of heavy steps per device,
// one per blocking node. pick() takes the best of a lane: run priority, then the run's deadline, then who has waited
// for more than 60 ms, then distance to the nearest sink, then whose last turn is longest ago; and adds batch mates of
// the same stage and batch key from any run, in the same order.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exec/run_graph.h"

namespace morph::exec {

using LaneId = std::size_t;
inline constexpr LaneId kLightLane = 0;

/// Work for one thread: every item's state is told of its flushes, then all items are stepped together.
struct Step {
  struct Item {
    std::shared_ptr<RunGraph> graph;
    GraphNode* node = nullptr;
    std::map<int, std::uint64_t> flushes{};  ///< input port (-1: its own) -> epoch
  };
  std::shared_ptr<const Stage> stage;
  std::vector<Item> items;
  LaneId lane = kLightLane;
  StreamTime begun{0};
};

/// How one item of a step ended.
struct StepResult {
  StepStatus status = StepStatus::need_input;
  std::shared_ptr<const Error> error;  ///< null: well
  bool again = false;                  ///< the batch failed before this item was touched: to be stepped alone
  std::vector<std::string> warnings;   ///< what the guards found in a stream that ended
};

/// Not thread-safe. Times are monotonic, from any origin.
class Scheduler {
 public:
  // Runs. A graph starts `idle`.
  /// The graph's states must be open. Its blocking nodes get lanes of their own (see blocking_nodes()).
  void start(const std::shared_ptr<RunGraph>& graph, StreamTime now);
  void cancel(RunGraph& graph, StreamTime now);
  void fail(RunGraph& graph, std::shared_ptr<const Error> error, StreamTime now);
  /// No further step begins; the ones under way end (watch n_running).
  void pause(RunGraph& graph);
  void resume(const std::shared_ptr<RunGraph>& graph, StreamTime now);
  /// Forgets a run that is quiescent or never started.
  void forget(RunGraph& graph);
  std::vector<GraphNode*> blocking_nodes(RunGraph& graph) const;
  /// The states of a paused run at rest are read without the lock, until end_saving(): resume() comes after that, and
  /// what a cancel leaves of them is not destroyed before.
  void begin_saving(RunGraph& graph) { graph.saving = true; }
  void end_saving(RunGraph& graph);

  // Endpoints of the application.
  /// `packet` is taken only when accepted. A flush is always accepted while the input is open.
  FeedStatus feed(const std::shared_ptr<RunGraph>& graph, GraphNode& node, Packet& packet, StreamTime now);
  void end_input(const std::shared_ptr<RunGraph>& graph, GraphNode& node, StreamTime now);
  /// Next packet for the reader; end, error or cancel once all else was read; nothing when there is none yet.
  std::optional<Packet> read(const std::shared_ptr<RunGraph>& graph, GraphNode& node, StreamTime now);
  void send_control(const std::shared_ptr<RunGraph>& graph, GraphNode& from, ControlEvent event, StreamTime now);
  /// Parameters that the node's stage is told of before its next step.
  void change_params(const std::shared_ptr<RunGraph>& graph, GraphNode& node, Params changed, StreamTime now);
  void wake(const std::shared_ptr<RunGraph>& graph, GraphNode& node, StreamTime now);

  // Steps.
  std::size_t n_ready(LaneId lane) const { return lane < lanes_.size() ? lanes_[lane].ready.size() : 0; }
  std::optional<Step> pick(LaneId lane, StreamTime now);
  /// `results` has one entry per item, or none when there was no memory for them. Applies what the steps sent, or ends
  /// the runs of items that failed; items that are to be stepped again go first in a batch of one.
  void complete(const Step& step, const std::vector<StepResult>& results, StreamTime now);

  // What the owner has to act on.
  LaneId heavy_lane(const std::string& device);
  /// Lanes in which something became ready since the last call.
  std::vector<LaneId> take_signals();
  /// States to destroy outside the lock; report with garbage_gone().
  struct Garbage {
    std::shared_ptr<RunGraph> graph;
    std::vector<std::unique_ptr<StageState>> states;
  };
  bool has_garbage() const { return !with_garbage_.empty(); }
  std::vector<Garbage> take_garbage();
  void garbage_gone(RunGraph& graph, std::size_t n_states);

 private:
  struct Ready {
    std::shared_ptr<RunGraph> graph;
    GraphNode* node;
  };
  struct Lane {
    std::vector<Ready> ready;
    /// Highest priority among them, -1 when empty: what StageIo::should_yield compares with. Steps of other threads
    /// read it; it keeps its place when lanes are added.
    std::unique_ptr<std::atomic<int>> most_urgent = std::make_unique<std::atomic<int>>(-1);
  };
  using Graph = std::shared_ptr<RunGraph>;

  LaneId new_lane();
  bool runnable(const RunGraph& graph, const GraphNode& node) const;
  void refresh(const Graph& graph, GraphNode& node, StreamTime now);
  void refresh_all(const Graph& graph, StreamTime now);
  void notify(const Graph& graph, GraphNode& node, std::uint8_t event, StreamTime now);
  static bool goes_first(const Ready& a, const Ready& b, StreamTime now);
  void begin(Step& step, const Ready& ready, StreamTime now);
  void add_batch_mates(Step& step, StreamTime now);
  void remove_ready(GraphNode& node);
  void note_urgency(LaneId lane);
  void complete_item(const Step& step, std::size_t index, const StepResult& result, StreamTime now);
  void give_up(const Step::Item& item, StreamTime now);
  void return_inputs(const Graph& graph, GraphNode& node, StreamTime now);
  void deliver(const Graph& graph, GraphNode& from, int port, Packet packet, StreamTime now);
  void propagate_flush(const Graph& graph, GraphNode& origin, int port, std::uint64_t epoch, StreamTime now);
  void flush_link(const Graph& graph, GraphLink& link, std::uint64_t epoch, StreamTime now);
  void finish_node(const Graph& graph, GraphNode& node, StreamTime now);
  void close_inputs(const Graph& graph, GraphNode& node, StreamTime now);
  void discard_state(const Graph& graph, GraphNode& node);
  void settle(const Graph& graph, StreamTime now);
  void end_run(RunGraph& graph, RunState state);
  void stop_nodes(RunGraph& graph);
  void count(RunGraph& graph, const GraphLink& link, StreamTime now);

  std::vector<Lane> lanes_ = std::vector<Lane>(1);
  std::map<std::string, LaneId> heavy_lanes_;
  std::vector<LaneId> free_lanes_, signals_;
  std::vector<Graph> with_garbage_;
  std::map<const RunGraph*, std::weak_ptr<RunGraph>> runs_;
  std::uint64_t turn_ = 0;
  std::shared_ptr<const Error> out_of_memory_ = std::make_shared<const Error>(
      ErrorCode::resource, "scheduler", "out of memory; let other runs end first, or give the machine more");
};

/// Finds out why a run at rest cannot go on, and mends it where queues are too short (Parks, "Bounded scheduling of
/// process networks", 1995): grows the links that hold up a stage which waits for another input. Used by Scheduler.
struct StallVerdict {
  std::vector<int> grown_links;        ///< these got more room
  std::shared_ptr<const Error> error;  ///< nothing can ever go on: a stage broke its contract
};
StallVerdict resolve_stall(RunGraph& graph);

}  // namespace morph::exec
