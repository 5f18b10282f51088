// Checkpoints: see checkpoint.h.
#include "exec/checkpoint.h"

#include "exec/step_error.h"
#include "exec/wire.h"
#include "morph/output_file.h"
#include "morph/regular_file.h"

namespace morph::exec {

namespace {

constexpr char kMagic[] = "MORPHRUN";
constexpr std::size_t kMagicBytes = 8, kHeadBytes = 16;
constexpr std::uint32_t kVersion = 2;
constexpr std::uint64_t kMaxBytes = std::uint64_t{16} << 30;

void write_options(wire::Writer& writer, const CompileOptions& options) {
  writer.u32(static_cast<std::uint32_t>(options.bindings.size()));
  for (const Binding& binding : options.bindings) {
    writer.string(binding.port);
    writer.string(binding.stage);
    writer.params(binding.params);
  }
  writer.params(Params(options.params));
  writer.string(options.device);
  writer.u64(options.memory_budget);
  writer.i64(options.n_threads);
  writer.u32(static_cast<std::uint32_t>(options.feed_formats.size()));
  for (const auto& [port, format] : options.feed_formats) {
    writer.string(port);
    writer.format(format);
  }
  writer.value(options.unread);
}

CompileOptions read_options(wire::Reader& reader) {
  CompileOptions options;
  options.bindings.resize(reader.count(reader.u32(), 12));
  for (Binding& binding : options.bindings) {
    binding.port = reader.string();
    binding.stage = reader.string();
    binding.params = reader.params();
  }
  options.params = reader.params().values();
  options.device = reader.string();
  options.memory_budget = reader.u64();
  options.n_threads = static_cast<int>(reader.i64());
  const std::size_t n_formats = reader.count(reader.u32(), 12);
  for (std::size_t i = 0; i < n_formats; ++i) {
    std::string port = reader.string();
    options.feed_formats[std::move(port)] = reader.format();
  }
  Value unread = reader.value();
  if (auto* names = std::get_if<std::vector<std::string>>(&unread)) options.unread = std::move(*names);
  return options;
}

std::vector<std::byte> read_file(const std::filesystem::path& file) {
  const std::string text = read_regular_file(file, kMaxBytes, ErrorCode::config);
  const auto view = std::as_bytes(std::span(text));
  std::vector<std::byte> bytes(view.begin(), view.end());
  wire::Reader reader(bytes, file.string());
  if (bytes.size() < kHeadBytes || text.compare(0, kMagicBytes, kMagic) != 0)
    reader.fail("this is no checkpoint of a run");
  reader.raw(kMagicBytes);
  if (const std::uint32_t version = reader.u32(); version != kVersion)
    throw Error(ErrorCode::config, file.string(),
                "checkpoint version " + std::to_string(version) + ", this build reads " + std::to_string(kVersion));
  if (reader.u32() != wire::crc32(std::span(bytes).subspan(kHeadBytes)))
    reader.fail("the checksum does not fit: the file is damaged");
  return bytes;
}

CheckpointHeader read_header(wire::Reader& reader) {
  CheckpointHeader header;
  header.pipeline_json = reader.string();
  header.options = read_options(reader);
  header.seed = reader.u64();
  header.params = reader.params().values();
  header.strict = reader.boolean();
  const std::uint8_t priority = reader.u8();
  if (priority > static_cast<std::uint8_t>(Priority::realtime)) reader.fail("unknown priority");
  header.priority = static_cast<Priority>(priority);
  return header;
}

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

void save_node(wire::Writer& writer, const GraphNode& node) {
  writer.string(node.name);
  writer.string(stage_type(node));
  writer.boolean(node.phase == NodePhase::done);
  writer.u8(static_cast<std::uint8_t>(node.last));
  writer.u8(node.events);
  writer.u64(node.epoch);
  for (const auto* flushes : {&node.flushed_by, &node.pending_flushes}) {
    writer.u32(static_cast<std::uint32_t>(flushes->size()));
    for (const auto& [key, epoch] : *flushes) {
      writer.i64(key);
      writer.u64(epoch);
    }
  }
  writer.u32(static_cast<std::uint32_t>(node.io.outputs.size()));
  for (const StepIo::Output& out : node.io.outputs) writer.u64(out.next_sequence);
  writer.u32(static_cast<std::uint32_t>(node.controls.size()));
  for (const ControlEvent& event : node.controls) {
    writer.string(event.name);
    writer.u64(event.epoch);
    writer.i64(event.time.count());
    writer.params(event.values);
  }
  writer.bytes(node.state && node.phase != NodePhase::done ? node.state->save() : std::vector<std::byte>{});
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
  for (auto* flushes : {&node.flushed_by, &node.pending_flushes}) {
    const std::size_t n = reader.count(reader.u32(), 16);
    for (std::size_t i = 0; i < n; ++i) {
      const auto key = static_cast<int>(reader.i64());
      (*flushes)[key] = reader.u64();
    }
  }
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

CheckpointHeader read_checkpoint_header(const std::filesystem::path& file) {
  const std::vector<std::byte> bytes = read_file(file);
  wire::Reader reader(bytes, file.string());
  reader.raw(kHeadBytes);
  return read_header(reader);
}

std::vector<std::byte> save_run(const RunGraph& graph) {
  refuse_unsaveable(graph);
  std::vector<std::byte> body;
  wire::Writer writer(body);
  writer.string(to_json(graph.plan->source));
  write_options(writer, graph.plan->options);
  writer.u64(graph.options.seed);
  writer.params(Params(graph.options.params));
  writer.boolean(graph.options.strict);
  writer.u8(static_cast<std::uint8_t>(graph.options.priority));
  writer.u32(static_cast<std::uint32_t>(graph.nodes.size()));
  for (const auto& node : graph.nodes) save_node(writer, *node);
  writer.u32(static_cast<std::uint32_t>(graph.links.size()));
  for (const GraphLink& link : graph.links) {
    writer.u64(link.queue.epoch());
    writer.u64(link.queue.capacity());
    writer.boolean(link.queue.ended());
    writer.boolean(link.queue.closed());
    writer.u32(static_cast<std::uint32_t>(link.queue.packets().size()));
    for (const Packet& packet : link.queue.packets()) {
      std::vector<std::byte> frame;
      wire::encode(packet, frame);
      writer.bytes(frame);
    }
  }
  return body;
}

void write_checkpoint(const std::filesystem::path& file, std::span<const std::byte> body) {
  std::vector<std::byte> bytes;
  wire::Writer head(bytes);
  for (std::size_t i = 0; i < kMagicBytes; ++i) head.u8(static_cast<std::uint8_t>(kMagic[i]));
  head.u32(kVersion);
  head.u32(wire::crc32(body));
  OutputFile out(file);
  out.write(bytes);
  out.write(body);
  out.finish();
}

void restore_run(RunGraph& graph, const std::filesystem::path& file, const Registry* registry) {
  if (registry == nullptr)
    throw Error(ErrorCode::config, file.string(), "executors without a registry cannot read packets back");
  const std::vector<std::byte> bytes = read_file(file);
  wire::Reader reader(bytes, file.string());
  reader.raw(kHeadBytes);
  read_header(reader);
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
