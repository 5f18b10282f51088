// `morph replay FILE`: makes an output again from the provenance it carries and says whether the bytes are the same.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "console.h"
#include "execution.h"
#include "morph/provenance.h"
#include "morph/request.h"
#include "options.h"
#include "subcommands.h"

namespace morph::command {
namespace {

struct ReplayOptions {
  CommonOptions common;
  std::string file;
  std::string out;
};

Value from_json(const nlohmann::json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) return value.get<std::vector<std::string>>();
  return std::monostate{};
}

/// Bindings of the record; the sink's path becomes `out`. Throws when an input changed since.
std::vector<Binding> bindings_of(const Engine& engine, const nlohmann::json& record, const std::string& out) {
  std::vector<Binding> bindings;
  for (const nlohmann::json& entry : record.at("bindings")) {
    Binding binding{entry.at("port"), entry.at("stage"), {}};
    for (const auto& [name, value] : entry.at("params").items()) binding.params.set(name, from_json(value));
    const StageSpec* spec = engine.registry().find_stage(binding.stage);
    if (spec != nullptr && !spec->sink_of.empty()) binding.params.set("path", out);
    if (entry.contains("sha256")) {
      const std::string path = binding.params.get_string("path");
      if (!std::filesystem::exists(path)) throw Error(ErrorCode::config, path, "the input this was made from is gone");
      if (file_sha256(path, false) != entry["sha256"])
        throw Error(ErrorCode::config, path, "the input this was made from has changed since");
    } else if (spec != nullptr && !spec->source_of.empty() && binding.params.has("path") &&
               binding.params.get_string("path") == "-") {
      throw Error(ErrorCode::config, "replay", "it was made from standard input, which is not kept");
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
                  "its record would write to " + path + "; the file was altered, and is not replayed");
  }
}

int replay(ReplayOptions options) {
  const std::optional<std::string> text = read_provenance(options.file);
  if (!text) throw Error(ErrorCode::format, options.file, "carries no provenance: not made by morph, or stripped");
  const nlohmann::json document = nlohmann::json::parse(*text);
  const nlohmann::json* const record = &document;
  const std::filesystem::path original = options.file;
  const bool keep = !options.out.empty();
  const std::string out =
      keep ? options.out
           : (original.parent_path() / ("." + original.stem().string() + ".replay" + original.extension().string()))
                 .string();
  try {
    options.common.seed = record->at("seed");
    if (options.common.threads == 0) options.common.threads = record->at("threads");
    const std::unique_ptr<Engine> engine = make_engine(options.common);
    const Pipeline pipeline = parse_pipeline(record->at("pipeline").dump(), options.file);
    CompileOptions compile;
    compile.n_threads = options.common.threads;
    compile.device = record->value("device", "");
    for (const auto& [name, value] : record->at("params").items()) compile.params[name] = from_json(value);
    compile.bindings = bindings_of(*engine, *record, out);
    compile.unread = unbound_outputs(pipeline, compile.bindings);
    const CompileResult compiled = engine->compile(pipeline, compile);
    if (!compiled.plan) return report_diagnostics(compiled.diagnostics, options.common.json);
    check_sinks(*compiled.plan, out);
    check_weights(*record, nlohmann::json::parse(make_provenance(*engine, *compiled.plan, options.common.seed)));
    const Outcome outcome = execute(*engine, pipeline, compile, options.common);
    if (outcome.exit_code != 0) return outcome.exit_code;
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::format, options.file,
                std::string("its provenance record is not understood: ") + error.what());
  }
  const bool same = file_sha256(out, false) == file_sha256(options.file, false);
  if (!keep) {
    std::filesystem::remove(out);
    std::filesystem::remove(out + ".provenance.json");
  }
  fmt::print("{}: {}\n", options.file, same ? "replayed, the same bytes" : "replayed, but the bytes differ");
  return same ? 0 : 1;
}

}  // namespace

void add_replay(CLI::App& app, CommandResult& result) {
  auto options = std::make_shared<ReplayOptions>();
  CLI::App* command = app.add_subcommand("replay", "Make an output again from its provenance and compare the bytes");
  command->add_option("FILE", options->file, "An output of morph")->required();
  command->add_option("-o,--output", options->out, "Keep the new one here");
  command->add_option("--threads", options->common.threads, "Thread budget (default: as then)");
  command->add_flag("-q,--quiet", options->common.quiet, "No progress");
  command->callback([&result, options] { result.exit_code = replay(*options); });
}

}  // namespace morph::command
