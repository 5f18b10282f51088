// RunGraph: one run as the scheduler sees it: nodes, links, who is upstream of whom, and how far each node is.
//
// A plain structure without threads. Built from a Plan; changed only by the Scheduler (under its owner's lock), except
// that a node's `io` and `state` belong to the thread that steps the node while `phase` is running.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exec/link_queue.h"
#include "exec/run_folder.h"
#include "exec/step_io.h"
#include "exec/trace.h"
#include "morph/checkpoint.h"
#include "morph/guard.h"
#include "morph/run.h"

namespace morph::exec {

enum class NodePhase : std::uint8_t {
  idle,     ///< not in a lane
  ready,    ///< waits in its lane to be picked
  running,  ///< a thread steps it
  done,     ///< sends nothing more
};

/// What happened to a node since its last step began (bits).
enum NodeEvent : std::uint8_t { kInputEvent = 1, kSpaceEvent = 2, kWakeEvent = 4, kControlEvent = 8, kFlushEvent = 16 };

struct GraphNode {
  // Fixed.
  int index = 0;
  std::string name, where;
  const StageSpec* spec = nullptr;
  std::shared_ptr<const Stage> stage;  ///< null for endpoints of the application
  bool app_feed = false, app_read = false, has_effects = false;
  std::string device;
  std::size_t lane = 0;
  std::vector<int> in_links;                ///< by input port; -1 = not connected
  std::vector<std::vector<int>> out_links;  ///< by output port
  std::vector<int> ancestors;               ///< every node upstream, itself not included
  int distance = 0;                         ///< links to the nearest sink

  // Changing.
  std::unique_ptr<StageState> state;
  Params params;  ///< of this run, complete
  StepIo io;
  NodePhase phase = NodePhase::idle;
  StepStatus last = StepStatus::ready;
  std::uint8_t events = 0;
  std::uint64_t epoch = 0;                       ///< of what it sends
  std::map<int, std::uint64_t> flushed_by;       ///< node that flushes -> the highest epoch of its that came here
  std::map<int, std::uint64_t> pending_flushes;  ///< input port (-1: its own) -> epoch, for its state
  std::deque<ControlEvent> controls;
  bool alone = false;      ///< its batch failed: the next step is a batch of one
  bool abandoned = false;  ///< nobody reads it any more: done as soon as its step ends
  std::uint64_t last_turn = 0;
  StreamTime ready_since{0};
  StageMetrics metrics;
  std::vector<LossReport> losses;
  bool end_told = false;            ///< read_any told how this output ended
  std::vector<GuardReport> guards;  ///< by output port; touched by the stepping thread only
};

struct GraphLink {
  int from_node = 0, from_port = 0, to_node = 0, to_port = 0;
  bool delay = false;
  LinkQueue queue;
};

struct RunGraph {
  std::shared_ptr<const Plan> plan;
  RunOptions options;
  std::vector<std::unique_ptr<GraphNode>> nodes;
  std::vector<GraphLink> links;
  std::shared_ptr<RunSignals> signals = std::make_shared<RunSignals>();

  RunState state = RunState::idle;  ///< `paused` is `running` plus the flag below
  bool paused = false;
  int n_ready = 0, n_running = 0, n_done = 0;
  int n_garbage = 0;       ///< states on their way to destruction
  StreamTime deadline{0};  ///< in the owner's time; 0: none
  FinishReason finish = FinishReason::none;
  bool saving = false;  ///< its states are being written: none is stepped or destroyed meanwhile
  std::shared_ptr<const Error> error;
  std::vector<std::unique_ptr<StageState>> garbage;  ///< states of finished nodes; see Scheduler::take_garbage
  std::unique_ptr<TraceLog> trace;                   ///< null: not traced
  std::function<Checkpoint()> origin;                ///< the head of its checkpoints; empty: of the plan alone
  std::unique_ptr<RunFolder> folder;                 ///< with RunOptions::checkpoint
  std::function<void()> on_change;                   ///< endpoint or run state changed; called under the owner's lock

  bool over() const { return state == RunState::finished || state == RunState::failed || state == RunState::cancelled; }
  /// Over, and no thread touches any of it.
  bool quiescent() const { return over() && n_running == 0 && n_garbage == 0 && garbage.empty() && !saving; }
  GraphLink& link(int index) { return links[static_cast<std::size_t>(index)]; }
  GraphNode& node(int index) { return *nodes[static_cast<std::size_t>(index)]; }
};

/// Seed of a stage: a fixed mix of the run's seed and the node's name.
std::uint64_t stage_seed(std::uint64_t run_seed, std::string_view node_name);

/// Nodes, links and topology of a plan; states are not opened yet. Throws Error{internal} when `stages` does not fit,
/// Error{config} for parameters of the run that are wrong.
std::shared_ptr<RunGraph> make_run_graph(std::shared_ptr<const Plan> plan,
                                         std::vector<std::shared_ptr<const Stage>> stages, RunOptions options);
/// What the node's state is opened with.
OpenContext open_context(const RunGraph& graph, const GraphNode& node);
/// The nodes that need a state before the run starts: stages that have none and are not done (a resumed run's may be).
std::vector<GraphNode*> nodes_to_open(RunGraph& graph);
/// A state for each, in order; changes no node, so that the run can be cancelled meanwhile. Throws Error with where =
/// "pipeline/stage".
std::vector<std::unique_ptr<StageState>> open_states(const RunGraph& graph, const std::vector<GraphNode*>& nodes);

}  // namespace morph::exec
