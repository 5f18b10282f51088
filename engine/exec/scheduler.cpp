// Scheduler: see scheduler.h.
#include "exec/scheduler.h"

#include <algorithm>
#include <new>
#include <utility>

#include "exec/step_error.h"

namespace morph::exec {

namespace {

constexpr std::size_t kMostControls = 256;  ///< for a stage that never asks; the oldest go first

bool output_blocked(const RunGraph& graph, const GraphNode& node) {
  for (const auto& port : node.out_links)
    for (const int link : port)
      if (graph.links[static_cast<std::size_t>(link)].queue.full()) return true;
  return false;
}

double milliseconds(StreamTime time) { return static_cast<double>(time.count()) / 1e6; }

}  // namespace

// ------------------------------------------------------------------------------------------------------ runs

LaneId Scheduler::new_lane() {
  if (!free_lanes_.empty()) {
    const LaneId lane = free_lanes_.back();
    free_lanes_.pop_back();
    return lane;
  }
  lanes_.emplace_back();
  return lanes_.size() - 1;
}

LaneId Scheduler::heavy_lane(const std::string& device) {
  const auto found = heavy_lanes_.find(device);
  if (found != heavy_lanes_.end()) return found->second;
  const LaneId lane = new_lane();
  heavy_lanes_.emplace(device, lane);
  return lane;
}

void Scheduler::start(const Graph& graph, StreamTime now) {
  if (graph->state != RunState::idle) return;
  graph->state = RunState::running;
  runs_[graph.get()] = graph;
  if (graph->options.deadline.count() > 0) graph->deadline = now + graph->options.deadline;
  for (auto& node : graph->nodes) {
    if (!node->stage) continue;
    switch (node->spec->load) {
      case StageLoad::light:
        node->lane = kLightLane;
        break;
      case StageLoad::heavy:
        node->lane = heavy_lane(node->device);
        break;
      case StageLoad::blocking:
        node->lane = new_lane();
        break;
    }
  }
  for (auto& node : graph->nodes) {  // a resumed run may hold nodes that had ended, a fed input may have ended already
    if (node->phase == NodePhase::done) continue;
    const bool unread = node->app_feed && node->out_links.front().empty();
    if (unread || (node->app_read && graph->link(node->in_links.front()).queue.ended())) finish_node(graph, *node, now);
  }
  refresh_all(graph, now);
  settle(graph, now);
}

std::vector<GraphNode*> Scheduler::blocking_nodes(RunGraph& graph) const {
  std::vector<GraphNode*> nodes;
  for (auto& node : graph.nodes)
    if (node->stage && node->spec->load == StageLoad::blocking) nodes.push_back(node.get());
  return nodes;
}

void Scheduler::end_run(RunGraph& graph, RunState state) {
  graph.state = state;
  graph.paused = false;
  graph.signals->stopped = true;
  stop_nodes(graph);
  if (graph.on_change) graph.on_change();
}

/// Every node that no thread steps is done; the others follow when their step ends.
void Scheduler::stop_nodes(RunGraph& graph) {
  const auto found = runs_.find(&graph);
  const Graph shared = found == runs_.end() ? nullptr : found->second.lock();
  for (auto& node : graph.nodes) {
    if (node->phase == NodePhase::done) continue;
    if (node->phase == NodePhase::running) {
      node->abandoned = true;
      continue;
    }
    if (node->phase == NodePhase::ready) {
      remove_ready(*node);
      --graph.n_ready;
    }
    node->phase = NodePhase::done;
    ++graph.n_done;
    if (shared) {
      discard_state(shared, *node);
    } else {
      node->state.reset();
    }
    if (node->stage && node->spec->load == StageLoad::blocking) signals_.push_back(node->lane);
  }
  for (GraphLink& link : graph.links) {
    const bool keep = graph.state != RunState::cancelled && graph.node(link.to_node).app_read;
    if (!keep) link.queue.close();
  }
}

void Scheduler::cancel(RunGraph& graph, StreamTime) {
  if (!graph.over()) end_run(graph, RunState::cancelled);
}

void Scheduler::fail(RunGraph& graph, std::shared_ptr<const Error> error, StreamTime) {
  if (graph.over()) return;
  graph.error = std::move(error);
  end_run(graph, RunState::failed);
}

void Scheduler::pause(RunGraph& graph) {
  if (graph.over()) return;
  graph.paused = true;
  for (auto& node : graph.nodes)
    if (node->phase == NodePhase::ready) note_urgency(node->lane);
}

void Scheduler::resume(const Graph& graph, StreamTime now) {
  if (!graph->paused) return;
  graph->paused = false;
  for (auto& node : graph->nodes)
    if (node->phase == NodePhase::ready) {
      signals_.push_back(node->lane);
      note_urgency(node->lane);
    }
  refresh_all(graph, now);
  settle(graph, now);
}

void Scheduler::end_saving(RunGraph& graph) {
  graph.saving = false;
  if (!graph.garbage.empty()) signals_.push_back(kLightLane);
  if (graph.on_change) graph.on_change();
}

void Scheduler::forget(RunGraph& graph) {
  for (auto& node : graph.nodes) {
    if (node->phase == NodePhase::ready) remove_ready(*node);
    if (node->stage && node->spec->load == StageLoad::blocking && node->lane != kLightLane)
      free_lanes_.push_back(std::exchange(node->lane, kLightLane));
  }
  std::erase_if(with_garbage_, [&](const Graph& other) { return other.get() == &graph; });
  runs_.erase(&graph);
}

// ------------------------------------------------------------------------------------------------- readiness

bool Scheduler::runnable(const RunGraph& graph, const GraphNode& node) const {
  if (graph.state != RunState::running || graph.paused || !node.stage) return false;
  if (node.events & (kControlEvent | kFlushEvent)) return true;
  if (output_blocked(graph, node)) return false;
  switch (node.last) {
    case StepStatus::ready:
      return true;
    case StepStatus::need_input:
      return (node.events & (kInputEvent | kWakeEvent)) != 0;
    case StepStatus::output_full:
      return (node.events & (kSpaceEvent | kWakeEvent)) != 0;
    case StepStatus::waiting:
      return node.events != 0;
    case StepStatus::done:
      return false;
  }
  return false;
}

void Scheduler::refresh(const Graph& graph, GraphNode& node, StreamTime now) {
  if (node.phase != NodePhase::idle || !runnable(*graph, node)) return;
  node.phase = NodePhase::ready;
  node.ready_since = now;
  ++graph->n_ready;
  lanes_[node.lane].ready.push_back({graph, &node});
  note_urgency(node.lane);
  signals_.push_back(node.lane);
}

void Scheduler::refresh_all(const Graph& graph, StreamTime now) {
  for (auto& node : graph->nodes) refresh(graph, *node, now);
}

void Scheduler::notify(const Graph& graph, GraphNode& node, std::uint8_t event, StreamTime now) {
  if (node.phase == NodePhase::done) return;
  node.events |= event;
  if (node.stage) {
    refresh(graph, node, now);
  } else if (graph->on_change) {
    graph->on_change();
  }
}

void Scheduler::remove_ready(GraphNode& node) {
  std::erase_if(lanes_[node.lane].ready, [&](const Ready& ready) { return ready.node == &node; });
  note_urgency(node.lane);
}

void Scheduler::note_urgency(LaneId lane) {
  int most = -1;
  for (const Ready& ready : lanes_[lane].ready)
    if (!ready.graph->paused) most = std::max(most, static_cast<int>(ready.graph->options.priority));
  lanes_[lane].most_urgent->store(most, std::memory_order_relaxed);
}

// ----------------------------------------------------------------------------------------------------- steps

namespace {
/// Nearest to the sink first starves a listener while an answer is made, and so hides that the speaker went on: a node
/// that has waited this long goes before others of its priority.
constexpr StreamTime kPatience = std::chrono::milliseconds(60);
}  // namespace

bool Scheduler::goes_first(const Ready& a, const Ready& b, StreamTime now) {
  if (a.graph->options.priority != b.graph->options.priority)
    return a.graph->options.priority > b.graph->options.priority;
  if (a.graph->deadline != b.graph->deadline) {  // none comes last
    if (a.graph->deadline.count() == 0 || b.graph->deadline.count() == 0) return a.graph->deadline.count() != 0;
    return a.graph->deadline < b.graph->deadline;
  }
  const bool a_is_due = now - a.node->ready_since > kPatience;
  const bool b_is_due = now - b.node->ready_since > kPatience;
  if (a_is_due != b_is_due) return a_is_due;
  if (a_is_due && a.node->ready_since != b.node->ready_since) return a.node->ready_since < b.node->ready_since;
  if (a.node->distance != b.node->distance) return a.node->distance < b.node->distance;
  return a.node->last_turn < b.node->last_turn;
}

std::optional<Step> Scheduler::pick(LaneId lane, StreamTime now) {
  if (lane >= lanes_.size()) return std::nullopt;
  std::vector<Ready>& ready = lanes_[lane].ready;
  std::size_t best = ready.size();
  for (std::size_t i = 0; i < ready.size(); ++i) {
    if (ready[i].graph->paused) continue;
    if (best == ready.size() || goes_first(ready[i], ready[best], now)) best = i;
  }
  if (best == ready.size()) return std::nullopt;
  Step step;
  step.lane = lane;
  step.begun = now;
  const Ready chosen = ready[best];
  step.stage = chosen.node->stage;
  step.items.reserve(static_cast<std::size_t>(std::max(chosen.node->spec->max_batch, 1)));  // begin() cannot fail
  begin(step, chosen, now);
  add_batch_mates(step, now);
  for (Step::Item& item : step.items)
    item.node->metrics.max_batch = std::max<std::uint64_t>(item.node->metrics.max_batch, step.items.size());
  return step;
}

namespace {
/// Nothing when the stage throws: it is then stepped alone.
std::optional<std::uint64_t> batch_key(const Stage& stage, const StageState& state) {
  try {
    return stage.batch_key(state);
  } catch (...) {  // an edge: a stage's code on the scheduler's thread
    return std::nullopt;
  }
}
}  // namespace

void Scheduler::add_batch_mates(Step& step, StreamTime now) {
  GraphNode& first = *step.items.front().node;
  const auto most = static_cast<std::size_t>(std::max(first.spec->max_batch, 1));
  if (most == 1 || first.alone || step.items.front().graph->options.strict) return;
  const std::optional<std::uint64_t> key = batch_key(*step.stage, *first.state);
  if (!key) return;
  std::vector<Ready> mates;
  try {
    for (const Ready& ready : lanes_[step.lane].ready) {
      const GraphNode& node = *ready.node;
      if (node.stage != step.stage || node.alone || ready.graph->paused || ready.graph->options.strict) continue;
      if (batch_key(*step.stage, *node.state) == key) mates.push_back(ready);
    }
    std::stable_sort(mates.begin(), mates.end(),
                     [now](const Ready& a, const Ready& b) { return goes_first(a, b, now); });
  } catch (const std::bad_alloc&) {  // then it goes alone
    return;
  }
  for (std::size_t i = 0; i < mates.size() && step.items.size() < most; ++i) begin(step, mates[i], now);
}

void Scheduler::begin(Step& step, const Ready& ready, StreamTime now) {
  GraphNode& node = *ready.node;
  RunGraph& graph = *ready.graph;
  Step::Item item{ready.graph, &node, std::exchange(node.pending_flushes, {})};
  remove_ready(node);
  --graph.n_ready;
  ++graph.n_running;
  node.phase = NodePhase::running;
  node.events = 0;
  node.last_turn = ++turn_;
  node.metrics.queue_wait_ms += milliseconds(now - node.ready_since);
  StepIo& io = node.io;
  io.epoch = node.epoch;
  io.most_urgent = lanes_[node.lane].most_urgent.get();
  for (std::size_t port = 0; port < io.inputs.size(); ++port) {
    StepIo::Input& in = io.inputs[port];
    in.n_taken = 0;
    if (node.in_links[port] < 0) continue;
    LinkQueue& queue = graph.link(node.in_links[port]).queue;
    in.upstream_ended = queue.ended();
    queue.hold(in.packets);
  }
  for (std::size_t port = 0; port < io.outputs.size(); ++port) {
    StepIo::Output& out = io.outputs[port];
    out.first_sequence = out.next_sequence;
    std::size_t space = std::size_t{1} << 30;
    for (const int link : node.out_links[port]) space = std::min(space, graph.link(link).queue.space());
    out.space = space;
  }
  io.controls = std::move(node.controls);
  node.controls.clear();
  io.n_controls_taken = 0;
  step.items.push_back(std::move(item));
}

/// Gives unconsumed packets back to the links and tells producers about room.
void Scheduler::return_inputs(const Graph& graph, GraphNode& node, StreamTime now) {
  for (std::size_t port = 0; port < node.io.inputs.size(); ++port) {
    if (node.in_links[port] < 0) continue;
    StepIo::Input& in = node.io.inputs[port];
    GraphLink& link = graph->link(node.in_links[port]);
    const std::size_t before = link.queue.length();
    node.metrics.packets_in += in.n_taken;
    link.queue.give_back(in.packets, in.n_taken);
    in.n_taken = 0;
    if (link.queue.length() < before) {
      count(*graph, link, now);
      notify(graph, graph->node(link.from_node), kSpaceEvent, now);
    }
  }
}

void Scheduler::complete(const Step& step, const std::vector<StepResult>& results, StreamTime now) {
  for (std::size_t i = 0; i < step.items.size(); ++i) {
    try {
      if (i >= results.size()) throw std::bad_alloc();  // the step could not be made for want of memory
      complete_item(step, i, results[i], now);
      settle(step.items[i].graph, now);
    } catch (...) {  // an edge: a payload's own code, or want of memory; it ends this run and no other of the batch
      give_up(step.items[i], now);
    }
  }
}

void Scheduler::complete_item(const Step& step, std::size_t i, const StepResult& result, StreamTime now) {
  const double busy_ms = milliseconds(now - step.begun);
  const Graph& graph = step.items[i].graph;
  GraphNode& node = *step.items[i].node;
  node.alone = result.again;
  node.last = result.status;
  if (!result.again) ++node.metrics.steps;
  node.metrics.busy_ms += busy_ms / static_cast<double>(step.items.size());
  node.metrics.longest_step_ms = std::max(node.metrics.longest_step_ms, busy_ms);
  for (const auto& [name, value] : node.io.metrics) node.metrics.values[name] += value;
  node.io.metrics.clear();
  for (const LossReport& loss : std::exchange(node.io.losses, {}))
    add_loss(node.losses, loss.loss, loss.what, loss.count);
  if (const FinishReason finish = std::exchange(node.io.finish, FinishReason::none); finish != FinishReason::none)
    graph->finish = finish;
  node.metrics.warnings += result.warnings.size();
  node.metrics.notes.insert(node.metrics.notes.end(), result.warnings.begin(), result.warnings.end());
  return_inputs(graph, node, now);

  if (!result.error && !graph->over()) {
    std::vector<StepIo::Sent> sent = std::exchange(node.io.sent, {});
    bool flushed = false;  // what follows belongs to the epoch that the flush began here
    for (StepIo::Sent& one : sent) {
      ++node.metrics.packets_out;
      if (one.packet.kind == PacketKind::flush) {
        propagate_flush(graph, node, one.port, one.packet.epoch, now);
        flushed = true;
      } else {
        if (flushed) one.packet.epoch = std::max(one.packet.epoch, node.epoch);
        deliver(graph, node, one.port, std::move(one.packet), now);
      }
    }
    for (ControlEvent& event : node.io.sent_controls) send_control(graph, node, std::move(event), now);
    const auto& controls = node.io.controls;  // those the step did not ask for wait for the next
    node.controls.insert(node.controls.begin(),
                         controls.begin() + static_cast<std::ptrdiff_t>(node.io.n_controls_taken), controls.end());
  }
  node.io.sent.clear();
  node.io.sent_controls.clear();
  node.io.controls.clear();

  if (result.error && !graph->over()) fail(*graph, result.error, now);
  --graph->n_running;
  node.phase = NodePhase::idle;
  if (result.again) node.events |= node.controls.empty() ? kWakeEvent : kControlEvent;
  if (result.status == StepStatus::done || node.abandoned || graph->over()) {
    finish_node(graph, node, now);
  } else {
    refresh(graph, node, now);
  }
  if (graph->over() && graph->n_running == 0 && graph->on_change) graph->on_change();
  if (graph->paused && graph->n_running == 0 && graph->on_change) graph->on_change();
}

/// What threw cannot be undone: the run ends with it. Inside a catch block.
void Scheduler::give_up(const Step::Item& item, StreamTime now) {
  GraphNode& node = *item.node;
  std::shared_ptr<const Error> error = out_of_memory_;
  try {
    error = current_error(node.where);
  } catch (const std::bad_alloc&) {  // then the one that was made beforehand
  }
  if (node.phase == NodePhase::running) {
    node.phase = NodePhase::idle;
    --item.graph->n_running;
  }
  for (StepIo::Input& in : node.io.inputs) in.packets.clear();
  node.io.sent.clear();
  node.io.sent_controls.clear();
  node.io.controls.clear();
  if (!item.graph->over()) fail(*item.graph, error, now);
  finish_node(item.graph, node, now);
  if (item.graph->n_running == 0 && item.graph->on_change) item.graph->on_change();
}

// --------------------------------------------------------------------------------------------------- packets

void Scheduler::deliver(const Graph& graph, GraphNode& from, int port, Packet packet, StreamTime now) {
  const std::vector<int>& links = from.out_links[static_cast<std::size_t>(port)];
  for (std::size_t i = 0; i < links.size(); ++i) {
    GraphLink& link = graph->link(links[i]);
    link.queue.push(i + 1 == links.size() ? std::move(packet) : packet);
    count(*graph, link, now);
    notify(graph, graph->node(link.to_node), kInputEvent, now);
  }
}

void Scheduler::flush_link(const Graph& graph, GraphLink& link, std::uint64_t epoch, StreamTime now) {
  const std::size_t before = link.queue.length();
  if (!link.queue.flush(epoch)) return;
  GraphNode& to = graph->node(link.to_node);
  if (link.queue.length() < before) {
    count(*graph, link, now);
    notify(graph, graph->node(link.from_node), kSpaceEvent, now);
  }
  if (to.app_read) {
    link.queue.push_front(Packet::flush(epoch));
    notify(graph, to, kInputEvent, now);
  } else if (to.stage && to.phase != NodePhase::done) {
    std::uint64_t& pending = to.pending_flushes[link.to_port];
    pending = std::max(pending, epoch);
    notify(graph, to, kFlushEvent, now);
  }
}

/// Reaches everything downstream at once; see StageState::flush. Each origin counts its own epochs. Where streams meet,
/// the node's own epoch takes the flush's number when that is higher, and otherwise rises by one: so no flush is lost,
/// whatever numbers the streams have, and on a way without meetings the number stays what it was.
void Scheduler::propagate_flush(const Graph& graph, GraphNode& origin, int port, std::uint64_t epoch, StreamTime now) {
  if (graph->trace) graph->trace->instant("events", "flush " + std::to_string(epoch), now, origin.where);
  const auto raise = [&](GraphNode& node, std::uint64_t number) {
    std::uint64_t& last = node.flushed_by[origin.index];
    if (epoch <= last) return false;
    last = epoch;
    node.epoch = std::max(node.epoch + 1, number);
    return true;
  };
  if (raise(origin, epoch) && origin.stage && origin.phase != NodePhase::done) {
    std::uint64_t& pending = origin.pending_flushes[-1];
    pending = std::max(pending, origin.epoch);
    notify(graph, origin, kFlushEvent, now);
  }
  // A stage may flush several of its outputs with one number: each is followed, each node raised once.
  std::vector<std::pair<int, std::uint64_t>> ahead;
  for (const int link : origin.out_links[static_cast<std::size_t>(port)]) ahead.emplace_back(link, origin.epoch);
  while (!ahead.empty()) {
    const auto [index, number] = ahead.back();
    ahead.pop_back();
    GraphLink& link = graph->link(index);
    flush_link(graph, link, number, now);
    GraphNode& to = graph->node(link.to_node);
    if (to.app_read || !raise(to, number)) continue;
    for (const auto& next : to.out_links)
      for (const int out : next) ahead.emplace_back(out, to.epoch);
  }
}

void Scheduler::send_control(const Graph& graph, GraphNode& from, ControlEvent event, StreamTime now) {
  if (graph->over()) return;
  if (graph->trace) graph->trace->instant("events", event.name, now, from.where);
  for (const int index : from.ancestors) {
    GraphNode& node = graph->node(index);
    if (!node.stage || node.phase == NodePhase::done) continue;
    node.controls.push_back(event);
    if (node.controls.size() > kMostControls) node.controls.pop_front();
    notify(graph, node, kControlEvent, now);
  }
}

void Scheduler::change_params(const Graph& graph, GraphNode& node, Params changed, StreamTime now) {
  if (graph->over() || !node.stage || node.phase == NodePhase::done) return;
  ControlEvent event;
  event.name = kParamsChanged;
  event.values = std::move(changed);
  node.controls.push_back(std::move(event));
  notify(graph, node, kControlEvent, now);
}

void Scheduler::wake(const Graph& graph, GraphNode& node, StreamTime now) {
  if (!graph->over()) notify(graph, node, kWakeEvent, now);
}

FeedStatus Scheduler::feed(const Graph& graph, GraphNode& node, Packet& packet, StreamTime now) {
  if (graph->over() || node.phase == NodePhase::done) return FeedStatus::closed;
  if (packet.kind == PacketKind::flush) {
    propagate_flush(graph, node, 0, packet.epoch, now);
    return FeedStatus::accepted;
  }
  if (output_blocked(*graph, node)) return FeedStatus::full;
  packet.epoch = std::max(packet.epoch, node.epoch);
  packet.sequence = node.io.outputs.front().next_sequence++;
  ++node.metrics.packets_out;
  deliver(graph, node, 0, std::move(packet), now);
  settle(graph, now);
  return FeedStatus::accepted;
}

void Scheduler::end_input(const Graph& graph, GraphNode& node, StreamTime now) {
  if (graph->over() || node.phase == NodePhase::done) return;
  finish_node(graph, node, now);
  settle(graph, now);
}

std::optional<Packet> Scheduler::read(const Graph& graph, GraphNode& node, StreamTime now) {
  GraphLink& link = graph->link(node.in_links.front());
  if (!link.queue.empty()) {
    Packet packet = link.queue.pop();
    ++node.metrics.packets_in;
    count(*graph, link, now);
    notify(graph, graph->node(link.from_node), kSpaceEvent, now);
    settle(graph, now);
    return packet;
  }
  Packet last;
  last.epoch = node.epoch;
  if (graph->state == RunState::cancelled) {
    last.kind = PacketKind::cancel;
  } else if (link.queue.ended()) {
    last.kind = PacketKind::end;
  } else if (graph->state == RunState::failed) {
    last.kind = PacketKind::error;
    last.error = graph->error;
  } else {
    return std::nullopt;
  }
  return last;
}

// ------------------------------------------------------------------------------------------------------ ends

void Scheduler::discard_state(const Graph& graph, GraphNode& node) {
  if (!node.state) return;
  if (graph->garbage.empty()) with_garbage_.push_back(graph);
  graph->garbage.push_back(std::move(node.state));
  signals_.push_back(kLightLane);
}

/// The node sends nothing more and takes nothing more.
void Scheduler::finish_node(const Graph& graph, GraphNode& node, StreamTime now) {
  if (node.phase == NodePhase::done) return;
  if (node.phase == NodePhase::ready) {
    remove_ready(node);
    --graph->n_ready;
  }
  node.phase = NodePhase::done;
  ++graph->n_done;
  discard_state(graph, node);
  if (node.stage && node.spec->load == StageLoad::blocking) signals_.push_back(node.lane);
  if (graph->over()) return;
  for (const auto& port : node.out_links)
    for (const int index : port) {
      GraphLink& link = graph->link(index);
      link.queue.end();
      GraphNode& to = graph->node(link.to_node);
      notify(graph, to, kInputEvent, now);
      if (to.app_read) finish_node(graph, to, now);
    }
  if (!node.app_read) close_inputs(graph, node, now);
}

/// Producers that nobody reads any more are finished too, unless they do something else than send.
void Scheduler::close_inputs(const Graph& graph, GraphNode& node, StreamTime now) {
  for (const int index : node.in_links) {
    if (index < 0) continue;
    GraphLink& link = graph->link(index);
    link.queue.close();
    GraphNode& from = graph->node(link.from_node);
    if (from.phase == NodePhase::done) continue;
    bool read = from.has_effects;
    for (const auto& port : from.out_links)
      for (const int out : port) read = read || !graph->link(out).queue.closed();
    if (read) {
      notify(graph, from, kSpaceEvent, now);
    } else if (from.phase == NodePhase::running) {
      from.abandoned = true;
    } else {
      finish_node(graph, from, now);
      if (from.app_feed && graph->on_change) graph->on_change();
    }
  }
}

/// Called when something happened: is the run over, or stuck?
void Scheduler::settle(const Graph& graph, StreamTime now) {
  while (graph->state == RunState::running) {
    if (graph->n_done == static_cast<int>(graph->nodes.size())) {
      end_run(*graph, RunState::finished);
      return;
    }
    if (graph->paused || graph->n_ready > 0 || graph->n_running > 0) return;
    const StallVerdict verdict = resolve_stall(*graph);
    if (verdict.error) {
      fail(*graph, verdict.error, now);
      return;
    }
    if (verdict.grown_links.empty()) return;
    for (const int index : verdict.grown_links)
      notify(graph, graph->node(graph->link(index).from_node), kSpaceEvent, now);
    for (const int index : verdict.grown_links) refresh(graph, graph->node(graph->link(index).from_node), now);
  }
}

void Scheduler::count(RunGraph& graph, const GraphLink& link, StreamTime now) {
  if (!graph.trace) return;
  graph.trace->counter(graph.node(link.from_node).name + " -> " + graph.node(link.to_node).name, now,
                       link.queue.length());
}

// ---------------------------------------------------------------------------------------------------- owner

std::vector<LaneId> Scheduler::take_signals() {
  std::sort(signals_.begin(), signals_.end());
  signals_.erase(std::unique(signals_.begin(), signals_.end()), signals_.end());
  return std::exchange(signals_, {});
}

std::vector<Scheduler::Garbage> Scheduler::take_garbage() {
  std::vector<Garbage> all;
  for (Graph& graph : std::exchange(with_garbage_, {})) {
    if (graph->saving) {
      with_garbage_.push_back(std::move(graph));
      continue;
    }
    graph->n_garbage += static_cast<int>(graph->garbage.size());
    std::vector<std::unique_ptr<StageState>> states = std::exchange(graph->garbage, {});
    all.push_back({std::move(graph), std::move(states)});
  }
  return all;
}

void Scheduler::garbage_gone(RunGraph& graph, std::size_t n_states) {
  graph.n_garbage -= static_cast<int>(n_states);
  if (graph.quiescent() && graph.on_change) graph.on_change();
}

}  // namespace morph::exec
