// `morph replay FILE`: makes an output again from the provenance it carries and says whether the bytes are the same.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "console.h"
#include "execution.h"
#include "morph/cores.h"
#include "morph/message.h"
#include "morph/provenance.h"
#include "morph/regular_file.h"
#include "morph/request.h"
#include "options.h"
#include "output_checks.h"
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

/// A folder that nobody could have prepared; gone with all that is in it when this is.
class PassingFolder {
 public:
  PassingFolder() {
    std::error_code failed;
    std::string name = (std::filesystem::temp_directory_path(failed) / "morph-replay-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      throw Error(ErrorCode::resource, name, std::string("no folder can be made: ") + std::strerror(errno));
    path_ = name;
  }
  ~PassingFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  PassingFolder(const PassingFolder&) = delete;
  PassingFolder& operator=(const PassingFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

int replay(ReplayOptions options) {
  const std::optional<std::string> text = read_provenance(options.file);
  if (!text) throw Error(ErrorCode::format, options.file, "carries no provenance: not made by morph, or stripped");
  const nlohmann::json document = nlohmann::json::parse(*text);
  const nlohmann::json* const record = &document;
  const bool keep = !options.out.empty();
  const PassingFolder folder;
  const std::string out =
      keep ? options.out
           : (folder.path() / ("replay" + std::filesystem::path(options.file).extension().string())).string();
  if (keep) check_outputs({options.file}, {out}, "");
  try {
    check_complete(*record);
    options.common.seed = record->at("seed");
    if (options.common.threads == 0) options.common.threads = threads_of(*record);
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
  fmt::print("{}: {}\n", shown_text(options.file),
             same ? "replayed, the same bytes" : "replayed, but the bytes differ");
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
