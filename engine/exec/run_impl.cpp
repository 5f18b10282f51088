// RunImpl: see run_impl.h.
#include "exec/run_impl.h"

#include <algorithm>
#include <exception>
#include <span>
#include <utility>

#include "exec/checkpoint.h"
#include "exec/step_error.h"
#include "graph/run_params.h"
#include "morph/log.h"
#include "morph/registry.h"

namespace morph::exec {

RunImpl::RunImpl(std::shared_ptr<Executors::Core> core, std::shared_ptr<RunGraph> graph)
    : core_(std::move(core)), graph_(std::move(graph)) {
  graph_->on_change = [this] { changed_.notify_all(); };
  for (auto& node : graph_->nodes) {
    node->io.wake = [weak_core = std::weak_ptr(core_), weak_graph = std::weak_ptr(graph_), index = node->index] {
      const auto core = weak_core.lock();
      const auto graph = weak_graph.lock();
      if (!core || !graph) return;
      const std::lock_guard lock(core->mutex());
      core->scheduler().wake(graph, graph->node(index), core->now());
      core->dispatch();
    };
  }
}

RunImpl::~RunImpl() {
  {
    std::unique_lock lock(core_->mutex());
    core_->scheduler().cancel(*graph_, core_->now());
    core_->dispatch();
    wait_until_quiescent(lock);
  }
  core_->join_blocking(*graph_);
  try {
    seal_checkpoint();
  } catch (const Error& error) {
    log(LogLevel::warning, "exec/checkpoint", error.what());
  }
  try {
    write_trace();
  } catch (const Error& error) {
    log(LogLevel::warning, "exec/trace", error.what());
  }
  const std::lock_guard lock(core_->mutex());
  core_->scheduler().forget(*graph_);
  graph_->on_change = nullptr;
  graph_->folder.reset();
}

/// Lock held. A run that was never started has nothing to wait for but its garbage.
void RunImpl::wait_until_quiescent(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [this] { return graph_->quiescent(); });
}

void RunImpl::start() {
  std::vector<GraphNode*> nodes;
  {
    const std::lock_guard lock(core_->mutex());
    if (graph_->state == RunState::cancelled && !starting_) return;
    if (graph_->state != RunState::idle || starting_)
      throw Error(ErrorCode::config, graph_->plan->name, "the run was started already; create another one");
    starting_ = true;
    nodes = nodes_to_open(*graph_);
  }
  std::vector<std::unique_ptr<StageState>> states;  // those that come too late go after the lock
  std::shared_ptr<const Error> failed;
  std::unique_ptr<OutputFile> trace;
  try {
    if (graph_->trace) trace = std::make_unique<OutputFile>(graph_->options.trace);
    states = open_states(*graph_, nodes);
  } catch (...) {
    failed = current_error(graph_->plan->name);
  }
  const std::lock_guard lock(core_->mutex());
  trace_file_ = std::move(trace);
  started_ = core_->now();
  graph_->signals->clock = [core = core_.get(), started = started_] { return core->now() - started; };
  if (failed) {
    core_->scheduler().fail(*graph_, failed, started_);
    core_->dispatch();
    throw Error(*failed);
  }
  if (graph_->over()) return;  // cancelled meanwhile
  for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i]->state = std::move(states[i]);
  core_->start(graph_);
}

GraphNode& RunImpl::endpoint(const std::string& name, bool feed) const {
  std::string known;
  for (const auto& node : graph_->nodes) {
    if (!(feed ? node->app_feed : node->app_read)) continue;
    if (node->name == name) return *node;
    known += (known.empty() ? "" : ", ") + node->name;
  }
  throw Error(ErrorCode::config, graph_->plan->name,
              std::string("no ") + (feed ? "input to feed" : "output to read") + " named '" + name + "'; there " +
                  (known.empty() ? "are none" : "is " + known));
}

namespace {

/// A wait longer than a year overflows some clocks, and so does one far in the past.
std::chrono::steady_clock::time_point deadline_of(std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds kYear(1000LL * 86400 * 365);
  return std::chrono::steady_clock::now() + std::clamp(timeout, std::chrono::milliseconds(0), kYear);
}

}  // namespace

/// Throws Error{format} when this is not what the input was compiled for.
void RunImpl::check_fed(const GraphNode& node, const Packet& packet) const {
  const Registry* registry = core_->options().registry;
  if (packet.ends_stream() || packet.kind == PacketKind::flush || registry == nullptr) return;
  for (const PlanLink& link : graph_->plan->links) {
    if (link.from_node != node.index) continue;
    const PayloadCheck* check = registry->find_payload_check(link.format.type);
    if (check == nullptr) continue;
    if (const std::string reason = (*check)(packet.payload.get(), link.format); !reason.empty())
      throw Error(ErrorCode::format, node.where,
                  "this input was compiled for " + to_string(link.format) + ": " + reason +
                      "; feed that, or compile with another feed format");
  }
}

bool RunImpl::feed(const std::string& input, Packet packet) {
  FeedStatus status = FeedStatus::full;
  while (status == FeedStatus::full) status = feed_for(input, packet, std::chrono::hours(24));
  return status == FeedStatus::accepted;
}

FeedStatus RunImpl::feed_for(const std::string& input, Packet& packet, std::chrono::milliseconds timeout) {
  GraphNode& node = endpoint(input, true);
  check_fed(node, packet);
  const auto deadline = deadline_of(timeout);
  std::unique_lock lock(core_->mutex());
  Scheduler& scheduler = core_->scheduler();
  if (packet.ends_stream()) {
    if (packet.kind == PacketKind::end) {
      scheduler.end_input(graph_, node, core_->now());
    } else if (packet.kind == PacketKind::cancel) {
      scheduler.cancel(*graph_, core_->now());
    } else {
      auto error = packet.error ? packet.error
                                : std::make_shared<const Error>(ErrorCode::internal, node.where, "the feeder failed");
      scheduler.fail(*graph_, std::move(error), core_->now());
    }
    core_->dispatch();
    return FeedStatus::accepted;
  }
  for (bool late = false;; late = changed_.wait_until(lock, deadline) == std::cv_status::timeout) {
    const FeedStatus status = scheduler.feed(graph_, node, packet, core_->now());
    core_->dispatch();
    if (status != FeedStatus::full || late) return status;
  }
}

void RunImpl::end_input(const std::string& input) {
  GraphNode& node = endpoint(input, true);
  const std::lock_guard lock(core_->mutex());
  core_->scheduler().end_input(graph_, node, core_->now());
  core_->dispatch();
}

std::optional<Packet> RunImpl::read(const std::string& output, std::chrono::milliseconds timeout) {
  GraphNode& node = endpoint(output, false);
  const auto deadline = deadline_of(timeout);
  std::unique_lock lock(core_->mutex());
  for (;;) {
    std::optional<Packet> packet = core_->scheduler().read(graph_, node, core_->now());
    core_->dispatch();
    if (packet) return packet;
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) {
      packet = core_->scheduler().read(graph_, node, core_->now());
      core_->dispatch();
      return packet;
    }
  }
}

std::optional<OutputPacket> RunImpl::read_any(std::chrono::milliseconds timeout, std::span<const std::string> outputs) {
  std::vector<GraphNode*> nodes;
  for (const std::string& output : outputs) nodes.push_back(&endpoint(output, false));
  if (outputs.empty())
    for (const auto& node : graph_->nodes)
      if (node->app_read) nodes.push_back(node.get());
  const auto deadline = deadline_of(timeout);
  std::unique_lock lock(core_->mutex());
  for (bool late = false;; late = changed_.wait_until(lock, deadline) == std::cv_status::timeout) {
    bool all_told = true;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      GraphNode& node = *nodes[(next_read_ + i) % nodes.size()];
      if (node.end_told) continue;
      all_told = false;
      std::optional<Packet> packet = core_->scheduler().read(graph_, node, core_->now());
      core_->dispatch();
      if (!packet) continue;
      node.end_told = packet->ends_stream();
      next_read_ += i + 1;
      return OutputPacket{node.name, std::move(*packet)};
    }
    if (all_told || late) return std::nullopt;
  }
}

void RunImpl::set_params(const std::map<std::string, Value>& params) {
  const std::lock_guard lock(core_->mutex());
  std::vector<Params> current;
  for (const auto& node : graph_->nodes) current.push_back(node->params);
  auto all = changed_params(*graph_->plan, current, params);
  for (const auto& [name, value] : params) graph_->options.params[name] = value;  // for a checkpoint
  for (auto& [index, changed] : all) {
    GraphNode& node = *graph_->nodes[index];
    for (const auto& [name, value] : changed.values()) node.params.set(name, value);
    core_->scheduler().change_params(graph_, node, std::move(changed), core_->now());
  }
  core_->dispatch();
}

void RunImpl::send_control(const std::string& output, ControlEvent event) {
  GraphNode& node = endpoint(output, false);
  const std::lock_guard lock(core_->mutex());
  core_->scheduler().send_control(graph_, node, std::move(event), core_->now());
  core_->dispatch();
}

void RunImpl::cancel() {
  const std::lock_guard lock(core_->mutex());
  core_->scheduler().cancel(*graph_, core_->now());
  core_->dispatch();
}

void RunImpl::pause() {
  std::unique_lock lock(core_->mutex());
  core_->scheduler().pause(*graph_);
  changed_.wait(lock, [this] { return graph_->n_running == 0 || !graph_->paused; });
}

void RunImpl::resume() {
  std::unique_lock lock(core_->mutex());
  changed_.wait(lock, [this] { return !graph_->saving; });
  core_->scheduler().resume(graph_, core_->now());
  core_->dispatch();
}

const Checkpoint& RunImpl::origin() {
  if (origin_) return *origin_;
  Checkpoint made;
  if (graph_->origin) {
    made = graph_->origin();
  } else {
    made.pipeline = graph_->plan->source;
    made.options = graph_->plan->options;
  }
  made.run.seed = graph_->options.seed;
  made.run.priority = graph_->options.priority;
  made.run.strict = graph_->options.strict;
  return origin_.emplace(std::move(made));
}

void RunImpl::checkpoint(const std::filesystem::path& file) {
  const std::lock_guard one_save(save_mutex_);
  const Checkpoint& head = origin();  // hashes files; before the run is held up
  RunSnapshot snapshot;
  {
    const std::lock_guard lock(core_->mutex());
    if (!graph_->paused || graph_->n_running > 0 || graph_->over() || graph_->saving)
      throw Error(ErrorCode::pipeline, graph_->plan->name, "only a paused run can be saved; call pause() first");
    snapshot = snapshot_run(*graph_);
    core_->scheduler().begin_saving(*graph_);
  }
  std::vector<std::byte> body;
  std::exception_ptr failed;
  try {
    body = encode_run(head, snapshot);
  } catch (...) {  // carried past the end of saving
    failed = std::current_exception();
  }
  {
    const std::lock_guard lock(core_->mutex());
    core_->scheduler().end_saving(*graph_);
    core_->dispatch();
  }
  if (failed) std::rethrow_exception(failed);
  const bool own = graph_->folder && file == graph_->options.checkpoint;
  write_checkpoint(file, body, own ? graph_->folder->temporary() : std::filesystem::path());
  if (own) graph_->folder->keep();
}

void RunImpl::seal_checkpoint() {
  const std::lock_guard one_save(save_mutex_);
  if (!graph_->folder) return;
  {
    const std::lock_guard lock(core_->mutex());
    if (graph_->state != RunState::finished) return;
  }
  write_checkpoint(graph_->options.checkpoint, encode_finished(origin()), graph_->folder->temporary());
  graph_->folder->remove();
  graph_->folder.reset();
}

void RunImpl::wait() {
  {
    std::unique_lock lock(core_->mutex());
    if (graph_->state == RunState::idle && !starting_)
      throw Error(ErrorCode::config, graph_->plan->name, "the run was not started; call start() first");
    wait_until_quiescent(lock);
  }
  seal_checkpoint();
  std::shared_ptr<const Error> no_trace;
  try {
    write_trace();
  } catch (const Error& error) {
    no_trace = std::make_shared<const Error>(error);
  }
  const std::lock_guard lock(core_->mutex());
  if (no_trace && graph_->state == RunState::finished) throw Error(*no_trace);  // else the run's own end matters more
  if (no_trace) log(LogLevel::warning, "exec/trace", no_trace->what());
  if (graph_->state == RunState::failed) throw Error(*graph_->error);
  if (graph_->state == RunState::cancelled)
    throw Error(ErrorCode::cancelled, graph_->plan->name, "the run was cancelled");
}

void RunImpl::write_trace() {
  std::unique_ptr<OutputFile> file;
  std::string json;
  {
    const std::lock_guard lock(core_->mutex());
    if (!trace_file_) return;
    file = std::move(trace_file_);
    json = graph_->trace->to_json();
  }
  file->write(std::as_bytes(std::span(json)));
  file->finish();
}

RunState RunImpl::state() const {
  const std::lock_guard lock(core_->mutex());
  return graph_->paused ? RunState::paused : graph_->state;
}

RunResult RunImpl::result() const {
  const std::lock_guard lock(core_->mutex());
  RunResult result;
  result.state = graph_->paused ? RunState::paused : graph_->state;
  result.finish = graph_->finish;
  result.error = graph_->error;
  for (const auto& node : graph_->nodes)
    for (LossReport loss : node->losses) {
      loss.stage = node->name;
      result.losses.push_back(std::move(loss));
    }
  return result;
}

double RunImpl::progress() const {
  const std::lock_guard lock(core_->mutex());
  if (graph_->state == RunState::finished) return 1.0;
  double least = 1.0;
  bool reported = false;
  for (const auto& node : graph_->nodes) {
    const double fraction = node->io.fraction.load(std::memory_order_relaxed);
    if (fraction < 0.0) continue;
    reported = true;
    least = std::min(least, fraction);
  }
  return reported ? least : 0.0;
}

std::map<std::string, StageMetrics> RunImpl::metrics() const {
  const std::lock_guard lock(core_->mutex());
  std::map<std::string, StageMetrics> all;
  for (const auto& node : graph_->nodes) {
    StageMetrics metrics = node->metrics;
    for (const auto& port : node->out_links)
      for (const int link : port) metrics.dropped += graph_->links[static_cast<std::size_t>(link)].queue.dropped();
    if (node->stage) {
      all[node->name] = std::move(metrics);
    } else {
      all.emplace(node->name, std::move(metrics));  // an endpoint may be named like a stage, which goes first
    }
  }
  return all;
}

}  // namespace morph::exec
