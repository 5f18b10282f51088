// The head of a checkpoint file: the flat pipeline, how it was compiled and run, and the files it depends on. See
// checkpoint.h. The pipeline is written field by field and not as a document, because a flat one has stage names
// ("outer/inner") that no document may have.
#include "exec/checkpoint_header.h"

#include <algorithm>

#include "morph/error.h"
#include "morph/regular_file.h"

namespace morph::exec {

namespace {

constexpr char kMagic[] = "MORPHRUN";
constexpr std::size_t kMagicBytes = 8;
constexpr std::uint32_t kVersion = 3;
constexpr std::uint64_t kMaxBytes = std::uint64_t{16} << 30;

std::vector<std::string> names_in(wire::Reader& reader) {
  Value value = reader.value();
  auto* names = std::get_if<std::vector<std::string>>(&value);
  if (names == nullptr) reader.fail("expected a list of names");
  return std::move(*names);
}

void write_ports(wire::Writer& writer, const std::vector<PipelinePort>& ports) {
  writer.u32(static_cast<std::uint32_t>(ports.size()));
  for (const PipelinePort& port : ports) {
    writer.string(port.name);
    writer.string(port.type);
    writer.value(port.endpoints);
    writer.string(port.help);
    writer.boolean(port.optional);
  }
}

std::vector<PipelinePort> read_ports(wire::Reader& reader) {
  std::vector<PipelinePort> ports(reader.count(reader.u32(), 18));
  for (PipelinePort& port : ports) {
    port.name = reader.string();
    port.type = reader.string();
    port.endpoints = names_in(reader);
    port.help = reader.string();
    port.optional = reader.boolean();
  }
  return ports;
}

void write_pipeline(wire::Writer& writer, const Pipeline& pipeline) {
  writer.string(pipeline.name);
  writer.string(pipeline.help);
  write_ports(writer, pipeline.inputs);
  write_ports(writer, pipeline.outputs);
  writer.u32(static_cast<std::uint32_t>(pipeline.stages.size()));
  for (const PipelineStage& stage : pipeline.stages) {
    writer.string(stage.name);
    writer.string(stage.stage);
    writer.string(stage.pipeline);
    writer.params(stage.params);
    writer.string(stage.executor);
  }
  writer.u32(static_cast<std::uint32_t>(pipeline.links.size()));
  for (const PipelineLink& link : pipeline.links) {
    writer.string(link.from);
    writer.string(link.to);
    writer.u64(link.queue);
    writer.u8(static_cast<std::uint8_t>(link.policy));
    writer.boolean(link.delay);
  }
}

Pipeline read_pipeline(wire::Reader& reader) {
  Pipeline pipeline;
  pipeline.name = reader.string();
  pipeline.help = reader.string();
  pipeline.inputs = read_ports(reader);
  pipeline.outputs = read_ports(reader);
  pipeline.stages.resize(reader.count(reader.u32(), 20));
  for (PipelineStage& stage : pipeline.stages) {
    stage.name = reader.string();
    stage.stage = reader.string();
    stage.pipeline = reader.string();
    stage.params = reader.params();
    stage.executor = reader.string();
  }
  pipeline.links.resize(reader.count(reader.u32(), 18));
  for (PipelineLink& link : pipeline.links) {
    link.from = reader.string();
    link.to = reader.string();
    link.queue = static_cast<std::size_t>(reader.u64());
    const std::uint8_t policy = reader.u8();
    if (policy > static_cast<std::uint8_t>(QueuePolicy::latest)) reader.fail("unknown queue policy");
    link.policy = static_cast<QueuePolicy>(policy);
    link.delay = reader.boolean();
  }
  return pipeline;
}

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
  const std::int64_t n_threads = reader.i64();
  if (n_threads < 0 || n_threads > (1 << 20)) reader.fail("expected a number of threads");
  options.n_threads = static_cast<int>(n_threads);
  const std::size_t n_formats = reader.count(reader.u32(), 12);
  for (std::size_t i = 0; i < n_formats; ++i) {
    std::string port = reader.string();
    options.feed_formats[std::move(port)] = reader.format();
  }
  options.unread = names_in(reader);
  return options;
}

void write_records(wire::Writer& writer, const std::vector<FileRecord>& records) {
  writer.u32(static_cast<std::uint32_t>(records.size()));
  for (const FileRecord& record : records) {
    writer.string(record.name);
    writer.string(record.path.string());
    writer.string(record.sha256);
  }
}

std::vector<FileRecord> read_records(wire::Reader& reader) {
  std::vector<FileRecord> records(reader.count(reader.u32(), 12));
  for (FileRecord& record : records) {
    record.name = reader.string();
    record.path = reader.string();
    record.sha256 = reader.string();
  }
  return records;
}

}  // namespace

std::vector<std::byte> checkpoint_head(std::span<const std::byte> body) {
  std::vector<std::byte> bytes;
  wire::Writer head(bytes);
  for (std::size_t i = 0; i < kMagicBytes; ++i) head.u8(static_cast<std::uint8_t>(kMagic[i]));
  head.u32(kVersion);
  head.u32(wire::crc32(body));
  return bytes;
}

void write_header(wire::Writer& writer, const Checkpoint& checkpoint) {
  writer.boolean(checkpoint.finished);
  write_pipeline(writer, checkpoint.pipeline);
  write_options(writer, checkpoint.options);
  writer.u64(checkpoint.run.seed);
  writer.u8(static_cast<std::uint8_t>(checkpoint.run.priority));
  writer.boolean(checkpoint.run.strict);
  write_records(writer, checkpoint.weights);
  write_records(writer, checkpoint.inputs);
}

std::vector<std::byte> read_checkpoint_file(const std::filesystem::path& file) {
  const std::string text = read_regular_file(file, kMaxBytes, ErrorCode::config);
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

Checkpoint read_head(wire::Reader& reader, std::span<const std::byte> bytes, const std::filesystem::path& file) {
  const std::size_t n_magic = std::min(bytes.size(), kMagicBytes);
  for (std::size_t i = 0; i < n_magic; ++i)
    if (bytes[i] != static_cast<std::byte>(kMagic[i])) reader.fail("this is no checkpoint of a run");
  if (bytes.size() < kCheckpointHeadBytes) reader.fail("the checkpoint is cut short");
  reader.raw(kMagicBytes);
  if (const std::uint32_t version = reader.u32(); version != kVersion)
    throw Error(ErrorCode::config, file.string(),
                "the checkpoint is of version " + std::to_string(version) + ", this build reads version " +
                    std::to_string(kVersion) + "; resume it with the program that wrote it");
  if (reader.u32() != wire::crc32(bytes.subspan(kCheckpointHeadBytes)))
    reader.fail("the checksum does not fit: the checkpoint is damaged or cut short");
  Checkpoint checkpoint;
  checkpoint.file = file;
  checkpoint.finished = reader.boolean();
  checkpoint.pipeline = read_pipeline(reader);
  checkpoint.options = read_options(reader);
  checkpoint.run.seed = reader.u64();
  const std::uint8_t priority = reader.u8();
  if (priority > static_cast<std::uint8_t>(Priority::realtime)) reader.fail("unknown priority");
  checkpoint.run.priority = static_cast<Priority>(priority);
  checkpoint.run.strict = reader.boolean();
  checkpoint.run.checkpoint = file;
  checkpoint.weights = read_records(reader);
  checkpoint.inputs = read_records(reader);
  return checkpoint;
}

void refuse_finished(const Checkpoint& checkpoint) {
  if (checkpoint.finished)
    throw Error(ErrorCode::config, checkpoint.file.string(),
                "the run of this checkpoint is finished: what it made is whole, and nothing is left to resume");
}

Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::filesystem::path& file) {
  wire::Reader reader(bytes, file.string());
  return read_head(reader, bytes, file);
}

}  // namespace morph::exec

namespace morph {

Checkpoint read_checkpoint(const std::filesystem::path& file) {
  return exec::parse_checkpoint(exec::read_checkpoint_file(file), file);
}

std::filesystem::path parts_folder(const std::filesystem::path& file) {
  std::filesystem::path folder = file;
  folder += ".parts";
  return folder;
}

}  // namespace morph
