// Checkpoints: see checkpoint.h.
#include "exec/checkpoint.h"

#include "exec/checkpoint_header.h"
#include "exec/segment_files.h"
#include "exec/step_error.h"
#include "exec/wire.h"

namespace morph::exec {

namespace {

std::string stage_type(const GraphNode& node) {
  if (node.app_feed) return "feed";
  return node.app_read ? "read" : node.spec->name;
}

void refuse_unsaveable(const RunGraph& graph) {
  std::string names;
  for (const auto& node : graph.nodes)
    if (node->stage && node->phase != NodePhase::done && !node->spec->checkpointable)
      names += (names.empty() ? "" : ", ") + node->name + " (" + node->spec->name + ")";
  if (!names.empty())
    throw Error(ErrorCode::pipeline, graph.plan->name,
                "the run cannot be saved now: these stages keep state that cannot be written: " + names +
                    "; wait until they are done, or cancel");
}

void write_guard(wire::Writer& writer, const GuardReport& guard) {
  writer.u64(guard.n_values);
  writer.u64(guard.n_clipped);
  writer.boolean(guard.nan);
  writer.boolean(guard.numeric);
  writer.f64(guard.low);
  writer.f64(guard.high);
  writer.boolean(guard.unit_ends);
}

GuardReport read_guard(wire::Reader& reader) {
  GuardReport guard;
  guard.n_values = reader.u64();
  guard.n_clipped = reader.u64();
  guard.nan = reader.boolean();
  guard.numeric = reader.boolean();
  guard.low = reader.f64();
  guard.high = reader.f64();
  guard.unit_ends = reader.boolean();
  return guard;
}

void write_metrics(wire::Writer& writer, const StageMetrics& metrics) {
  for (const std::uint64_t count :
       {metrics.steps, metrics.packets_in, metrics.packets_out, metrics.dropped, metrics.max_batch, metrics.warnings})
    writer.u64(count);
  for (const double time : {metrics.busy_ms, metrics.longest_step_ms, metrics.queue_wait_ms}) writer.f64(time);
  writer.u32(static_cast<std::uint32_t>(metrics.values.size()));
  for (const auto& [name, value] : metrics.values) {
    writer.string(name);
    writer.f64(value);
  }
  writer.value(metrics.notes);
}

StageMetrics read_metrics(wire::Reader& reader) {
  StageMetrics metrics;
  for (std::uint64_t* count : {&metrics.steps, &metrics.packets_in, &metrics.packets_out, &metrics.dropped,
                               &metrics.max_batch, &metrics.warnings})
    *count = reader.u64();
  for (double* time : {&metrics.busy_ms, &metrics.longest_step_ms, &metrics.queue_wait_ms}) *time = reader.f64();
  const std::size_t n = reader.count(reader.u32(), 12);
  for (std::size_t i = 0; i < n; ++i) {
    std::string name = reader.string();
    metrics.values[std::move(name)] = reader.f64();
  }
  Value notes = reader.value();
  auto* list = std::get_if<std::vector<std::string>>(&notes);
  if (list == nullptr) reader.fail("expected a list of notes");
  metrics.notes = std::move(*list);
  return metrics;
}

void write_flushes(wire::Writer& writer, const std::map<int, std::uint64_t>& flushes) {
  writer.u32(static_cast<std::uint32_t>(flushes.size()));
  for (const auto& [key, epoch] : flushes) {
    writer.i64(key);
    writer.u64(epoch);
  }
}

std::map<int, std::uint64_t> read_flushes(wire::Reader& reader) {
  std::map<int, std::uint64_t> flushes;
  const std::size_t n = reader.count(reader.u32(), 16);
  for (std::size_t i = 0; i < n; ++i) {
    const auto key = static_cast<int>(reader.i64());
    flushes[key] = reader.u64();
  }
  return flushes;
}

void write_losses(wire::Writer& writer, const std::vector<LossReport>& losses) {
  writer.u32(static_cast<std::uint32_t>(losses.size()));
  for (const LossReport& loss : losses) {
    writer.u8(static_cast<std::uint8_t>(loss.loss));
    writer.string(loss.what);
    writer.u64(loss.count);
  }
}

std::vector<LossReport> read_losses(wire::Reader& reader) {
  std::vector<LossReport> losses(reader.count(reader.u32(), 13));
  for (LossReport& loss : losses) {
    const std::uint8_t kind = reader.u8();
    if (kind > static_cast<std::uint8_t>(Loss::guessed)) reader.fail("unknown kind of loss");
    loss.loss = static_cast<Loss>(kind);
    loss.what = reader.string();
    loss.count = reader.u64();
  }
  return losses;
}

void write_node(wire::Writer& writer, const RunSnapshot::Node& node) {
  writer.string(node.name);
  writer.string(node.type);
  writer.boolean(node.done);
  writer.u8(static_cast<std::uint8_t>(node.last));
  writer.u8(node.events);
  writer.u64(node.epoch);
  write_flushes(writer, node.flushed_by);
  write_flushes(writer, node.pending_flushes);
  writer.params(node.params);
  write_losses(writer, node.losses);
  writer.u32(static_cast<std::uint32_t>(node.next_sequences.size()));
  for (const std::uint64_t next : node.next_sequences) writer.u64(next);
  writer.u32(static_cast<std::uint32_t>(node.controls.size()));
  for (const ControlEvent& event : node.controls) {
    writer.string(event.name);
    writer.u64(event.epoch);
    writer.i64(event.time.count());
    writer.params(event.values);
  }
  writer.u32(static_cast<std::uint32_t>(node.guards.size()));
  for (const GuardReport& guard : node.guards) write_guard(writer, guard);
  write_metrics(writer, node.metrics);
  try {
    writer.bytes(node.state != nullptr ? node.state->save() : std::vector<std::byte>{});
  } catch (...) {  // an edge: what a stage threw, with its place
    throw Error(*current_error(node.where));
  }
}

void restore_node(wire::Reader& reader, GraphNode& node, RunGraph& graph) {
  const std::string name = reader.string();
  const std::string type = reader.string();
  if (name != node.name || type != stage_type(node))
    throw Error(ErrorCode::pipeline, node.where,
                "the checkpoint holds stage '" + name + "' (" + type + ") here; it belongs to another pipeline");
  const bool done = reader.boolean();
  const std::uint8_t last = reader.u8();
  if (last > static_cast<std::uint8_t>(StepStatus::done)) reader.fail("unknown step status");
  node.last = static_cast<StepStatus>(last);
  // A waker that would have come died with the other process: whoever waited is asked once.
  node.events = static_cast<std::uint8_t>((reader.u8() & 31) | (node.last == StepStatus::waiting ? kWakeEvent : 0));
  node.epoch = reader.u64();
  node.flushed_by = read_flushes(reader);
  node.pending_flushes = read_flushes(reader);
  node.params = reader.params();
  node.losses = read_losses(reader);
  if (reader.u32() != node.io.outputs.size()) reader.fail("another number of outputs than " + node.where + " has");
  for (StepIo::Output& out : node.io.outputs) out.next_sequence = reader.u64();
  const std::size_t n_controls = reader.count(reader.u32(), 24);
  for (std::size_t i = 0; i < n_controls; ++i) {
    ControlEvent event;
    event.name = reader.string();
    event.epoch = reader.u64();
    event.time = StreamTime(reader.i64());
    event.values = reader.params();
    node.controls.push_back(std::move(event));
  }
  if (reader.u32() != node.guards.size()) reader.fail("another number of outputs than " + node.where + " has");
  for (GuardReport& guard : node.guards) guard = read_guard(reader);
  node.metrics = read_metrics(reader);
  const auto saved = reader.bytes();
  if (done) {
    node.phase = NodePhase::done;
    ++graph.n_done;
    return;
  }
  if (!node.stage) return;
  try {
    node.state = node.stage->open(open_context(graph, node));
    node.state->restore(saved);
  } catch (...) {
    throw Error(*current_error(node.where));
  }
}

}  // namespace

RunSnapshot snapshot_run(const RunGraph& graph) {
  refuse_unsaveable(graph);
  RunSnapshot snapshot;
  snapshot.finish = graph.finish;
  for (const auto& node : graph.nodes) {
    RunSnapshot::Node& taken = snapshot.nodes.emplace_back();
    taken.name = node->name;
    taken.type = stage_type(*node);
    taken.where = node->where;
    taken.done = node->phase == NodePhase::done;
    taken.last = node->last;
    taken.events = node->events;
    taken.epoch = node->epoch;
    taken.flushed_by = node->flushed_by;
    taken.pending_flushes = node->pending_flushes;
    taken.params = node->params;
    taken.losses = node->losses;
    for (const StepIo::Output& out : node->io.outputs) taken.next_sequences.push_back(out.next_sequence);
    taken.controls = node->controls;
    taken.guards = node->guards;
    taken.metrics = node->metrics;
    if (!taken.done) taken.state = node->state.get();
  }
  for (const GraphLink& link : graph.links)
    snapshot.links.push_back(
        {link.queue.epoch(), link.queue.capacity(), link.queue.ended(), link.queue.closed(), link.queue.packets()});
  return snapshot;
}

std::vector<std::byte> encode_run(const Checkpoint& origin, const RunSnapshot& snapshot) {
  std::vector<std::byte> body;
  wire::Writer writer(body);
  write_header(writer, origin);
  writer.u8(static_cast<std::uint8_t>(snapshot.finish));
  writer.u32(static_cast<std::uint32_t>(snapshot.nodes.size()));
  for (const RunSnapshot::Node& node : snapshot.nodes) write_node(writer, node);
  writer.u32(static_cast<std::uint32_t>(snapshot.links.size()));
  for (const RunSnapshot::Link& link : snapshot.links) {
    writer.u64(link.epoch);
    writer.u64(link.capacity);
    writer.boolean(link.ended);
    writer.boolean(link.closed);
    writer.u32(static_cast<std::uint32_t>(link.packets.size()));
    for (const Packet& packet : link.packets) {
      std::vector<std::byte> frame;
      wire::encode(packet, frame);
      writer.bytes(frame);
    }
  }
  return body;
}

std::vector<std::byte> encode_finished(const Checkpoint& origin) {
  std::vector<std::byte> body;
  wire::Writer writer(body);
  Checkpoint finished = origin;
  finished.finished = true;
  write_header(writer, finished);
  return body;
}

void write_checkpoint(const std::filesystem::path& file, std::span<const std::byte> body,
                      const std::filesystem::path& temporary) {
  write_durably(file, checkpoint_head(body), body, temporary);
}

void restore_run(RunGraph& graph, const std::filesystem::path& file, const Registry* registry) {
  if (registry == nullptr)
    throw Error(ErrorCode::config, file.string(), "executors without a registry cannot read packets back");
  const std::vector<std::byte> bytes = read_checkpoint_file(file);
  wire::Reader reader(bytes, file.string());
  refuse_finished(read_head(reader, bytes, file));
  const std::uint8_t finish = reader.u8();
  if (finish > static_cast<std::uint8_t>(FinishReason::unconfirmed)) reader.fail("unknown reason of an end");
  graph.finish = static_cast<FinishReason>(finish);
  if (reader.u32() != graph.nodes.size())
    throw Error(ErrorCode::pipeline, file.string(), "the checkpoint has another number of stages than the pipeline");
  for (auto& node : graph.nodes) restore_node(reader, *node, graph);
  if (reader.u32() != graph.links.size())
    throw Error(ErrorCode::pipeline, file.string(), "the checkpoint has another number of links than the pipeline");
  for (GraphLink& link : graph.links) {
    const std::uint64_t epoch = reader.u64();
    const std::uint64_t capacity = reader.u64();
    const bool ended = reader.boolean();
    const bool closed = reader.boolean();
    std::deque<Packet> packets(reader.count(reader.u32(), 8));
    for (Packet& packet : packets) packet = wire::decode(reader.bytes(), *registry, file.string());
    link.queue.restore(std::move(packets), epoch, static_cast<std::size_t>(capacity), ended, closed);
  }
  reader.expect_end();
}

}  // namespace morph::exec
