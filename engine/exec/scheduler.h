// Scheduler: decides which stage runs next. A deterministic state machine without threads and without a clock of its
// own: its owner (executor.h, or a test) holds one lock around it, passes the time in, runs the steps it hands out and
// reports how they ended.
//
// A node is runnable when what its last step answered says so (StepStatus, as in ClickHouse's IProcessor) and none of
// its blocking output links is full. Ready nodes wait in lanes: one lane of light steps, one of heavy steps per device,
// one per blocking node. pick() takes the best of a lane: run priority, then who has waited for more than 60 ms, then
// distance to the nearest sink, then whose last turn is longest ago; and adds batch mates of the same stage and batch
// key from any run.
#pragma once

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

/// Work for one thread: every item's state gets flush() when `flush_epoch` is set, then all items are stepped together.
struct Step {
  struct Item {
    std::shared_ptr<RunGraph> graph;
    GraphNode* node = nullptr;
    std::optional<std::uint64_t> flush_epoch;
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

  // Endpoints of the application.
  enum class FeedResult : std::uint8_t { accepted, full, closed };
  /// `packet` is taken only when accepted. A flush is always accepted while the input is open.
  FeedResult feed(const std::shared_ptr<RunGraph>& graph, GraphNode& node, Packet& packet, StreamTime now);
  void end_input(const std::shared_ptr<RunGraph>& graph, GraphNode& node, StreamTime now);
  /// Next packet for the reader; end, error or cancel once all else was read; nothing when there is none yet.
  std::optional<Packet> read(const std::shared_ptr<RunGraph>& graph, GraphNode& node, StreamTime now);
  void send_control(const std::shared_ptr<RunGraph>& graph, GraphNode& from, ControlEvent event, StreamTime now);
  void wake(const std::shared_ptr<RunGraph>& graph, GraphNode& node, StreamTime now);

  // Steps.
  std::size_t n_ready(LaneId lane) const { return lane < lanes_.size() ? lanes_[lane].size() : 0; }
  std::optional<Step> pick(LaneId lane, StreamTime now);
  /// `results` has one entry per item. Applies what the steps sent, or ends the runs of items that failed.
  void complete(const Step& step, const std::vector<StepResult>& results, StreamTime now);
  /// The batch failed as a whole: undone, to be stepped one by one.
  void retry_singly(const Step& step, StreamTime now);

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
  using Graph = std::shared_ptr<RunGraph>;

  LaneId new_lane();
  bool runnable(const RunGraph& graph, const GraphNode& node) const;
  void refresh(const Graph& graph, GraphNode& node, StreamTime now);
  void refresh_all(const Graph& graph, StreamTime now);
  void notify(const Graph& graph, GraphNode& node, std::uint8_t event, StreamTime now);
  void begin(Step& step, const Ready& ready, StreamTime now);
  void add_batch_mates(Step& step, StreamTime now);
  void remove_ready(GraphNode& node);
  void return_inputs(const Graph& graph, GraphNode& node, StreamTime now);
  void deliver(const Graph& graph, GraphNode& from, int port, Packet packet, StreamTime now);
  void propagate_flush(const Graph& graph, GraphNode& origin, int port, std::uint64_t epoch, StreamTime now);
  void finish_node(const Graph& graph, GraphNode& node, StreamTime now);
  void close_inputs(const Graph& graph, GraphNode& node, StreamTime now);
  void discard_state(const Graph& graph, GraphNode& node);
  void settle(const Graph& graph, StreamTime now);
  void end_run(RunGraph& graph, RunState state);
  void stop_nodes(RunGraph& graph);
  void count(RunGraph& graph, const GraphLink& link, StreamTime now);

  std::vector<std::vector<Ready>> lanes_{1};
  std::map<std::string, LaneId> heavy_lanes_;
  std::vector<LaneId> free_lanes_, signals_;
  std::vector<Graph> with_garbage_;
  std::map<const RunGraph*, std::weak_ptr<RunGraph>> runs_;
  std::uint64_t turn_ = 0;
};

/// Finds out why a run at rest cannot go on, and mends it where queues are too short (Parks, "Bounded scheduling of
/// process networks", 1995): grows the links that hold up a stage which waits for another input. Used by Scheduler.
struct StallVerdict {
  std::vector<int> grown_links;        ///< these got more room
  std::shared_ptr<const Error> error;  ///< nothing can ever go on: a stage broke its contract
};
StallVerdict resolve_stall(RunGraph& graph);

}  // namespace morph::exec
