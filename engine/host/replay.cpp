// Making an output again from the record it carries. See morph/replay.h. The record comes with the file, from anyone:
// it is data to be doubted.
#include "morph/replay.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "morph/cores.h"
#include "morph/message.h"
#include "morph/provenance.h"
#include "morph/regular_file.h"
#include "morph/request.h"

namespace morph {
namespace {

Value from_json(const nlohmann::json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.size() == 1 && value.contains("bytes") && value["bytes"].is_string())
    if (std::optional<std::string> bytes = from_hexadecimal(value["bytes"])) return std::move(*bytes);
  if (value.is_array()) return value.get<std::vector<std::string>>();
  return std::monostate{};
}

/// Bindings of the record; the sink's path becomes `out`. Throws when an input changed since.
std::vector<Binding> bindings_of(const Engine& engine, const nlohmann::json& record, const std::string& out) {
  std::vector<Binding> bindings;
  for (const nlohmann::json& entry : record.at("bindings")) {
    Binding binding{entry.at("port"), entry.at("stage"), {}};
    if (!entry.at("params").is_object())
      throw Error(ErrorCode::format, "replay", "expected the parameters of a binding");
    for (const auto& [name, value] : entry.at("params").items()) binding.params.set(name, from_json(value));
    const StageSpec* spec = engine.registry().find_stage(binding.stage);
    if (spec != nullptr && !spec->sink_of.empty()) binding.params.set("path", out);
    if (entry.contains("sha256")) {
      const std::string path = binding.params.get_string("path");
      if (const std::string other = other_than_file(path); !other.empty())
        throw Error(ErrorCode::config, path, "the input this was made from is gone: there is " + other);
      if (file_sha256(path, false) != entry["sha256"])
        throw Error(ErrorCode::config, path, "the input this was made from has changed since");
    } else if (spec != nullptr && !spec->source_of.empty() && binding.params.has("path") &&
               binding.params.get_string("path") == "-") {
      throw Error(ErrorCode::config, "replay", "it was made from standard input, which is not kept");
    } else if (spec != nullptr && !spec->source_of.empty() && binding.params.has("path")) {
      throw Error(ErrorCode::format, binding.params.get_string("path"),
                  "the record has no hash of this input, so that nothing says it is the one that was used");
    }
    bindings.push_back(std::move(binding));
  }
  return bindings;
}

void check_weights(const nlohmann::json& before, const nlohmann::json& now) {
  if (before.value("weights", nlohmann::json()) == now.value("weights", nlohmann::json())) return;
  for (const nlohmann::json& old : before.at("weights"))
    for (const nlohmann::json& current : now.at("weights"))
      if (old["file"] == current["file"] && old["sha256"] != current["sha256"])
        throw Error(ErrorCode::weights, old["file"], "the weights differ from those the file was made with");
  throw Error(ErrorCode::weights, "replay", "other weight files would be used than those the file was made with");
}

/// The record comes with the file, from anyone: it may write where the caller said and nowhere else.
void check_sinks(const Plan& plan, const std::string& out) {
  for (const PlanNode& node : plan.nodes) {
    if (node.spec == nullptr || node.spec->sink_of.empty() || !node.params.has("path")) continue;
    if (const std::string& path = node.params.get_string("path"); path != out)
      throw Error(ErrorCode::format, node.name,
                  "its record would write to " + shown_text(path) + "; the file was altered, and is not replayed");
  }
}

/// What was left out of the record (--provenance discreet) cannot be made up.
void check_complete(const nlohmann::json& record) {
  if (!record.at("params").is_object() || !record.at("bindings").is_array() || !record.at("weights").is_array())
    throw Error(ErrorCode::format, "replay",
                "its provenance record is not understood: expected params, bindings and weights");
  if (!record.contains("left_out")) return;
  std::string names;
  for (const nlohmann::json& name : record.at("left_out"))
    names += (names.empty() ? "" : ", ") + name.get<std::string>();
  throw Error(ErrorCode::config, "replay", "its record leaves out " + names + ", which making it again would take");
}

/// As many as then, within what this process may use: the record comes from anyone.
int threads_of(const nlohmann::json& record) {
  const auto threads = record.at("threads").get<std::int64_t>();
  if (threads < 1) throw Error(ErrorCode::format, "replay", "expected a number of threads in the record");
  return static_cast<int>(std::min<std::int64_t>(threads, usable_cores()));
}

[[noreturn]] void not_understood(const std::string& file, const std::exception& error) {
  throw Error(ErrorCode::format, file, std::string("its provenance record is not understood: ") + error.what());
}

}  // namespace

ReplayRecord read_replay(const std::string& file) {
  const std::optional<std::string> text = read_provenance(file);
  if (!text) throw Error(ErrorCode::format, file, "carries no provenance: not made by morph, or stripped");
  try {
    const nlohmann::json record = nlohmann::json::parse(*text);
    check_complete(record);
    return {file, *text, record.at("seed").get<std::uint64_t>(), threads_of(record)};
  } catch (const nlohmann::json::exception& error) {
    not_understood(file, error);
  }
}

ReplayRequest prepare_replay(const Engine& engine, const ReplayRecord& record, const std::string& out) {
  try {
    const nlohmann::json document = nlohmann::json::parse(record.text);
    ReplayRequest request{parse_pipeline(document.at("pipeline").dump(), record.file), {}};
    CompileOptions& compile = request.compile;
    compile.n_threads = engine.n_threads();
    compile.device = document.value("device", "");
    for (const auto& [name, value] : document.at("params").items()) compile.params[name] = from_json(value);
    compile.bindings = bindings_of(engine, document, out);
    compile.unread = unbound_outputs(request.pipeline, compile.bindings);
    const CompileResult compiled = engine.compile(request.pipeline, compile);
    if (!compiled.plan) throw_first(request.pipeline.name, compiled.diagnostics);
    check_sinks(*compiled.plan, out);
    check_weights(document, nlohmann::json::parse(make_provenance(engine, *compiled.plan, record.seed)));
    return request;
  } catch (const nlohmann::json::exception& error) {
    not_understood(record.file, error);
  }
}

}  // namespace morph
