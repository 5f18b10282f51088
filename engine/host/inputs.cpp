// What goes into a request and which pipeline takes it. See morph/request.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <set>
#include <span>

#include "base/byte_file.h"
#include "host/live_input.h"
#include "morph/request.h"

namespace morph {
namespace {

/// First bytes of standard input without consuming them: pread on a file, tee(2) on a pipe. Empty when neither works.
std::vector<std::byte> peek_stdin() {
  std::vector<std::byte> head(4096);
  struct stat info {};
  if (fstat(STDIN_FILENO, &info) != 0) return {};
  ssize_t got = -1;
  if (S_ISREG(info.st_mode)) {
    got = pread(STDIN_FILENO, head.data(), head.size(), lseek(STDIN_FILENO, 0, SEEK_CUR));
  } else if (S_ISFIFO(info.st_mode)) {
    std::array<int, 2> copy{};
    if (pipe(copy.data()) != 0) return {};
    pollfd ready{STDIN_FILENO, POLLIN, 0};
    poll(&ready, 1, -1);
    if (tee(STDIN_FILENO, copy[1], head.size(), 0) > 0) got = read(copy[0], head.data(), head.size());
    close(copy[0]);
    close(copy[1]);
  }
  head.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return head;
}

bool looks_like_text(std::span<const std::byte> head) {
  return std::none_of(head.begin(), head.end(), [](std::byte b) {
    const auto c = static_cast<unsigned char>(b);
    return c < 9 || (c > 13 && c < 32 && c != 27);
  });
}

std::string suffix_of(const std::string& path) {
  std::string suffix = std::filesystem::path(path).extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  return suffix;
}

/// A missing file rather than a prompt: one word with a known media suffix, or with a slash.
bool looks_like_path(const Engine& engine, const std::string& argument) {
  if (argument.find_first_of(" \n?!") != std::string::npos) return false;
  if (argument.find('/') != std::string::npos) return true;
  const std::string suffix = suffix_of(argument);
  if (suffix.empty()) return false;
  for (const auto& [name, spec] : engine.registry().stages())
    if (std::find(spec.suffixes.begin(), spec.suffixes.end(), suffix) != spec.suffixes.end()) return true;
  return false;
}

const StageSpec* find_source(const Engine& engine, const std::string& modality) {
  for (const auto& [name, spec] : engine.registry().stages())
    if (spec.source_of == modality) return &spec;
  return nullptr;
}

const StageSpec* find_sink(const Engine& engine, const std::string& modality, const std::string& suffix) {
  const StageSpec* any = nullptr;
  for (const auto& [name, spec] : engine.registry().stages()) {
    if (spec.sink_of != modality) continue;
    if (std::find(spec.suffixes.begin(), spec.suffixes.end(), suffix) != spec.suffixes.end()) return &spec;
    any = &spec;
  }
  return any;
}

bool has_param(const StageSpec& spec, std::string_view name) {
  return std::any_of(spec.params.begin(), spec.params.end(), [&](const ParamSpec& p) { return p.name == name; });
}

/// Every required input of the pipeline is given, and every given modality has a port.
bool accepts(const Pipeline& pipeline, std::vector<std::string> given) {
  for (const PipelinePort& port : pipeline.inputs) {
    const auto found = std::find(given.begin(), given.end(), port.type);
    if (found != given.end())
      given.erase(found);
    else if (!port.optional)
      return false;
  }
  return given.empty();
}

/// The first output is what a pipeline is for; further ones are by-products.
bool makes(const Pipeline& pipeline, const std::string& output) {
  return !pipeline.outputs.empty() && pipeline.outputs.front().type == output;
}

}  // namespace

RequestInput classify_input(const Engine& engine, const std::string& argument, const std::string& stdin_type) {
  if (argument == "/dev/stdin") return classify_input(engine, "-", stdin_type);
  if (argument == "-") {
    if (!stdin_type.empty()) return {argument, stdin_type, false};
    const std::vector<std::byte> head = peek_stdin();
    std::string modality = engine.registry().sniff("-", head);
    if (modality.empty() && !head.empty() && looks_like_text(head)) modality = "text";
    if (modality.empty())
      throw Error(ErrorCode::format, "standard input",
                  "cannot tell what it holds; say so with --stdin-type audio (or text, image)");
    return {argument, modality, false};
  }
  std::error_code failed;
  if (argument.size() < 4096 && std::filesystem::exists(argument, failed)) {
    if (std::filesystem::is_directory(argument))
      throw Error(ErrorCode::config, argument, "is a folder; expected a file or a prompt");
    const std::string modality = engine.registry().sniff(std::filesystem::path(argument));
    if (modality.empty()) {
      const bool empty = std::filesystem::file_size(argument, failed) == 0;
      throw Error(ErrorCode::format, argument,
                  empty ? "the file is empty" : "is neither audio, image nor text that this build can read");
    }
    return {argument, modality, false};
  }
  if (looks_like_path(engine, argument))
    throw Error(ErrorCode::config, argument, "no such file (a prompt is given in quotes, with its spaces)");
  return {argument, "text", true};
}

RequestInput input_of_text(std::string text) { return {std::move(text), "text", true}; }

RequestInput input_of_bytes(const Engine& engine, std::span<const std::byte> bytes, const std::string& name) {
  std::string modality = engine.registry().sniff(name, bytes.first(std::min<std::size_t>(bytes.size(), 4096)));
  if (modality.empty())
    throw Error(ErrorCode::format, name,
                bytes.empty() ? "there are no bytes" : "these bytes are of no kind that this build can read");
  return {name, std::move(modality), false, std::make_shared<const ByteFile>(bytes, name)};
}

RequestInput input_of_values(std::string modality, std::vector<Packet> values, Format format) {
  if (values.empty()) throw Error(ErrorCode::config, modality, "expected at least one value, found none");
  return {modality, modality, false, nullptr, std::move(values), std::move(format)};
}

std::string output_modality(const Engine& engine, const std::string& path, const std::string& type) {
  const bool is_stream = path.empty() || path == "-";
  if (is_stream && !type.starts_with('.')) return type.empty() ? "text" : type;
  const std::string suffix = is_stream ? type : suffix_of(path);
  std::set<std::string> known;
  for (const auto& [name, spec] : engine.registry().stages()) {
    if (spec.sink_of.empty()) continue;
    if (std::find(spec.suffixes.begin(), spec.suffixes.end(), suffix) != spec.suffixes.end()) return spec.sink_of;
    known.insert(spec.suffixes.begin(), spec.suffixes.end());
  }
  throw Error(ErrorCode::config, is_stream ? type : path,
              fmt::format("cannot tell what to make from the suffix \"{}\"; known: {}", suffix, fmt::join(known, " ")));
}

Pipeline choose_pipeline(const Engine& engine, const std::vector<RequestInput>& inputs, const std::string& output) {
  std::vector<std::string> given;
  for (const RequestInput& input : inputs) given.push_back(input.modality);
  std::optional<Pipeline> chosen;
  std::set<std::string> possible;
  for (Pipeline& pipeline : engine.pipelines().all()) {
    if (!accepts(pipeline, given)) continue;
    if (!pipeline.outputs.empty()) possible.insert(pipeline.outputs.front().type);
    if (!makes(pipeline, output)) continue;
    if (!chosen || (pipeline.is_default && !chosen->is_default)) chosen = std::move(pipeline);
  }
  if (chosen) return std::move(*chosen);
  throw Error(ErrorCode::pipeline, fmt::format("{} -> {}", fmt::join(given, " + "), output),
              possible.empty() ? std::string("no pipeline takes these inputs; see `morph run --list`")
                               : fmt::format("no pipeline makes {} from them; possible: {}. See `morph run --list`",
                                             output, fmt::join(possible, ", ")));
}

std::vector<Binding> bind_inputs(const Engine& engine, const Pipeline& pipeline,
                                 const std::vector<RequestInput>& inputs) {
  std::vector<Binding> bindings;
  std::vector<const RequestInput*> left;
  for (const RequestInput& input : inputs) left.push_back(&input);
  for (const PipelinePort& port : pipeline.inputs) {
    const auto found =
        std::find_if(left.begin(), left.end(), [&](const RequestInput* input) { return input->modality == port.type; });
    if (found == left.end()) {
      if (port.optional) continue;
      throw Error(ErrorCode::pipeline, pipeline.name + "/" + port.name,
                  "this pipeline needs a " + port.type + " input: " + port.help);
    }
    if (!(*found)->values.empty()) {  // fed, not read by a stage
      left.erase(found);
      continue;
    }
    const StageSpec* source = find_source(engine, port.type);
    if (source == nullptr)
      throw Error(ErrorCode::pipeline, pipeline.name + "/" + port.name, "no stage reads " + port.type + " from a file");
    Binding binding{port.name, source->name, {}};
    const RequestInput& input = **found;
    binding.params.set(input.literal ? "text" : "path", input.bytes ? input.bytes->path() : input.argument);
    bindings.push_back(std::move(binding));
    left.erase(found);
  }
  if (!left.empty())
    throw Error(ErrorCode::pipeline, left.front()->argument,
                "pipeline " + pipeline.name + " has no (further) input for " + left.front()->modality);
  return bindings;
}

std::vector<Binding> bind_ports(const Engine& engine, const Pipeline& pipeline, const std::vector<RequestInput>& inputs,
                                const std::string& out, bool json) {
  std::vector<Binding> bindings = bind_inputs(engine, pipeline, inputs);
  for (const PipelinePort& port : pipeline.outputs) {
    const bool is_text_stdout = (out.empty() || out == "-") && port.type == "text";
    const StageSpec* sink = find_sink(engine, port.type, out.empty() ? "" : suffix_of(out));
    if (sink == nullptr)
      throw Error(ErrorCode::pipeline, pipeline.name + "/" + port.name, "no stage writes " + port.type + " to a file");
    if (out.empty() && port.type != "text")
      throw Error(ErrorCode::config, pipeline.name + "/" + port.name,
                  fmt::format("say where to put the {}: -o FILE{}", port.type,
                              sink->suffixes.empty() ? std::string() : " (" + sink->suffixes.front() + ")"));
    Binding binding{port.name, sink->name, {}};
    binding.params.set("path", is_text_stdout ? std::string("-") : out);
    if (json && port.type == "text" && has_param(*sink, "format") && is_text_stdout)
      binding.params.set("format", std::string("json"));
    bindings.push_back(std::move(binding));
    break;  // one OUT: the first output; others are left unread
  }
  return bindings;
}

bool is_live(const std::vector<RequestInput>& inputs) {
  return std::any_of(inputs.begin(), inputs.end(), [](const RequestInput& input) { return input.argument == "-"; }) &&
         stdin_is_live();
}

std::vector<std::string> unbound_outputs(const Pipeline& pipeline, const std::vector<Binding>& bindings) {
  std::vector<std::string> unbound;
  for (const PipelinePort& port : pipeline.outputs)
    if (std::none_of(bindings.begin(), bindings.end(), [&](const Binding& b) { return b.port == port.name; }))
      unbound.push_back(port.name);
  return unbound;
}

}  // namespace morph
