// Running a pipeline from the command line. See execution.h.
#include "execution.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "by_products.h"
#include "console.h"
#include "interrupts.h"
#include "morph/message.h"
#include "morph/provenance.h"
#include "morph/regular_file.h"
#include "morph/request.h"
#include "output_checks.h"
#include "periodic_saver.h"

namespace morph::command {
namespace {

/// Ctrl-C cancels the run while this lives; it must be gone before the run is.
class CancelByInterrupt {
 public:
  CancelByInterrupt(InterruptWatch& watch, Run& run) : watch_(watch) { watch_.cancel_instead(&run); }
  ~CancelByInterrupt() { watch_.cancel_instead(nullptr); }
  CancelByInterrupt(const CancelByInterrupt&) = delete;
  CancelByInterrupt& operator=(const CancelByInterrupt&) = delete;

 private:
  InterruptWatch& watch_;
};

/// The files that the sinks of these bindings write.
std::vector<std::string> output_files(const Engine& engine, const CompileOptions& compile) {
  std::vector<std::string> files;
  for (const Binding& binding : compile.bindings) {
    const StageSpec* spec = engine.registry().find_stage(binding.stage);
    if (spec == nullptr || spec->sink_of.empty() || !binding.params.has("path")) continue;
    const std::string& path = binding.params.get_string("path");
    if (path != "-") files.push_back(path);
  }
  return files;
}

void print_metrics(const Run& run) {
  std::string text = fmt::format("{:<28}{:>8}{:>10}{:>11}{:>11}{:>11}\n", "stage", "steps", "packets", "busy ms",
                                 "longest", "queued ms");
  for (const auto& [name, m] : run.metrics()) {
    text += fmt::format("{:<28}{:>8}{:>10}{:>11.1f}{:>11.1f}{:>11.1f}\n", name, m.steps, m.packets_out, m.busy_ms,
                        m.longest_step_ms, m.queue_wait_ms);
    for (const auto& [key, value] : m.values) text += fmt::format("  {:<26}{:>19.3f}\n", key, value);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  write_message(shown_text(text, true));
  write_message(fmt::format("peak memory {}\n", human_bytes(static_cast<unsigned long long>(usage.ru_maxrss) * 1024)));
}

/// The files that the sources of these bindings read.
std::vector<std::string> input_files(const Engine& engine, const CompileOptions& compile) {
  std::vector<std::string> files;
  for (const Binding& binding : compile.bindings) {
    const StageSpec* spec = engine.registry().find_stage(binding.stage);
    if (spec != nullptr && !spec->source_of.empty() && binding.params.has("path"))
      files.push_back(binding.params.get_string("path"));
  }
  return files;
}

/// Before anything is loaded: the run can be saved, and nothing that is of use is in the way.
void check_checkpoint(const Plan& plan, const std::vector<std::string>& files, const std::string& file) {
  if (files.empty())
    throw Error(
        ErrorCode::config, "--checkpoint",
        "expected an output file (-o OUT), found none: what is printed cannot be taken back when a run goes on");
  std::string names;
  std::error_code failed;
  const auto place = [&](const std::string& path) { return std::filesystem::weakly_canonical(path, failed); };
  for (const PlanNode& node : plan.nodes) {
    if (node.spec == nullptr) continue;
    if (!node.spec->checkpointable) names += (names.empty() ? "" : ", ") + node.name + " (" + node.spec->name + ")";
    if (!node.params.has("path")) continue;
    if (node.params.get_string("path") == "-")
      throw Error(ErrorCode::config, "--checkpoint",
                  "expected inputs that can be read again, found standard input; put it into a file");
    if (place(node.params.get_string("path")) == place(file))
      throw Error(ErrorCode::config, file,
                  "expected a file of its own for the checkpoint, found an input or the output");
  }
  if (!names.empty())
    throw Error(ErrorCode::pipeline, plan.name,
                "runs of this pipeline cannot be saved: " + names + " keeps what cannot");
  if (!std::filesystem::exists(file, failed)) return;
  if (!read_checkpoint(file).finished)  // which refuses what is no checkpoint
    throw Error(ErrorCode::config, file,
                "holds a run that is not finished; go on with it (`morph resume " + file + "`) or remove the file");
}

/// Runs it to the end, saved as it goes where `options.checkpoint` says so.
void run_to_the_end(Run& run, const std::vector<std::string>& shown, const CommonOptions& options) {
  const ByProducts by_products(run, shown);
  if (options.checkpoint.empty()) {
    run.start();
    run.wait();
    return;
  }
  const PeriodicSaver saver(run, options.checkpoint, parse_interval(options.checkpoint_every, "--checkpoint-every"));
  run.wait();
}

/// What the run says about itself, and a record beside the outputs that hold none.
void report(const Run& run, const std::string& pipeline, const std::vector<std::string>& files,
            const std::string& record, const CommonOptions& options, Outcome& outcome) {
  for (const auto& [stage, metrics] : run.metrics())
    for (const std::string& note : metrics.notes)
      write_message(fmt::format("warning: {}: {}\n", shown_text(stage), shown_text(note, true)));
  for (const LossReport& loss : run.result().losses)
    write_message(fmt::format("warning: {}: {} {}{} {}\n", shown_text(loss.stage), loss.count, shown_text(loss.what),
                              loss.count == 1 ? "" : "s", to_string(loss.loss)));
  if (options.metrics) print_metrics(run);
  for (const std::string& file : files) {
    keep_provenance(file, record);
    outcome.outputs.push_back(file);
  }
  if (options.json && !files.empty()) {
    nlohmann::json names = nlohmann::json::array();
    for (const std::string& file : outcome.outputs) names.push_back(nlohmann::json::parse(text_as_json(file)));
    nlohmann::json result = {{"pipeline", pipeline}, {"outputs", names}};
    if (!record.empty()) result["provenance"] = nlohmann::json::parse(record);
    fmt::print("{}\n", result.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
}

Outcome execute_or_throw(Engine& engine, const Pipeline& pipeline, CompileOptions compile,
                         const CommonOptions& options) {
  Outcome outcome;
  InterruptWatch watch;
  const std::vector<std::string> files = output_files(engine, compile);
  check_outputs(input_files(engine, compile), files, options.trace, options.force);
  // By-products are worth showing to a person, and to nobody else.
  const bool shows =
      options.checkpoint.empty() && (options.show || (!options.quiet && !options.json && isatty(STDERR_FILENO) != 0));
  std::vector<std::string> shown;
  for (const std::string& name : unbound_outputs(pipeline, compile.bindings)) {
    const bool is_text = std::any_of(pipeline.outputs.begin(), pipeline.outputs.end(), [&](const PipelinePort& port) {
      return port.name == name && port.type == "text";
    });
    (shows && is_text ? shown : compile.unread).push_back(name);
  }
  CompileResult compiled = engine.compile(pipeline, compile);
  outcome.exit_code = report_diagnostics(compiled.diagnostics, options.json);
  if (!compiled.plan) return outcome;
  if (!options.checkpoint.empty()) {
    check_checkpoint(*compiled.plan, files, options.checkpoint);
    parse_interval(options.checkpoint_every, "--checkpoint-every");
  }
  std::string record;
  if (!files.empty() && options.provenance != Provenance::none) {
    RecordedPlan recorded = record_plan(engine, compiled.plan, options.seed, options.provenance);
    compiled.plan = std::move(recorded.plan);
    record = std::move(recorded.record);
  }
  ProgressLine progress(options.quiet);
  engine.load(compiled.plan, [&](double fraction, std::string_view what) {
    progress.show(fraction, fmt::format("loading {}", what));
  });
  progress.clear();

  RunOptions run_options;
  run_options.seed = options.seed;
  run_options.priority = Priority::interactive;
  run_options.trace = options.trace;
  run_options.checkpoint = options.checkpoint;
  const bool text_on_terminal = files.empty() && isatty(STDOUT_FILENO) != 0;
  if (!text_on_terminal && shown.empty()) {
    run_options.on_progress = [&](const std::string& stage, double fraction, std::string_view what) {
      progress.show(fraction, what.empty() ? std::string_view(stage) : what);
    };
  }
  const std::unique_ptr<Run> run = engine.create_run(compiled.plan, run_options);
  const CancelByInterrupt cancels(watch, *run);  // to the end: what is whole by then gets its record
  run_to_the_end(*run, shown, options);
  progress.clear();
  report(*run, pipeline.name, files, record, options, outcome);
  return outcome;
}

/// The record that the run was to put into its outputs; says where it went on when that is another device.
std::string saved_record(Checkpoint& checkpoint) {
  std::string text;
  for (Binding& binding : checkpoint.options.bindings) {
    if (!binding.params.has("provenance")) continue;
    const std::optional<std::string> held =
        find_provenance(binding.params.get_string("provenance"), checkpoint.file.string());
    if (!held) continue;
    text = *held;
    nlohmann::json record = nlohmann::json::parse(text);
    if (record.value("device", "") == checkpoint.options.device) continue;
    record["resumed_on"] = checkpoint.options.device;
    text = record.dump(2);
    binding.params.set("provenance", embed_provenance(text));
  }
  return text;
}

Outcome resume_or_throw(Engine& engine, Checkpoint checkpoint, CommonOptions options) {
  Outcome outcome;
  InterruptWatch watch;
  options.checkpoint = checkpoint.file.string();
  const std::vector<std::string> files = output_files(engine, checkpoint.options);
  check_outputs(input_files(engine, checkpoint.options), files, options.trace);
  const std::string record = saved_record(checkpoint);
  ProgressLine progress(options.quiet);
  progress.show(0.0, "loading");
  checkpoint.run.trace = options.trace;
  checkpoint.run.on_progress = [&](const std::string& stage, double fraction, std::string_view what) {
    progress.show(fraction, what.empty() ? std::string_view(stage) : what);
  };
  const std::string pipeline = checkpoint.pipeline.name;
  const std::unique_ptr<Run> run = engine.resume_run(checkpoint);
  const CancelByInterrupt cancels(watch, *run);
  run_to_the_end(*run, {}, options);
  progress.clear();
  report(*run, pipeline, files, record, options, outcome);
  return outcome;
}

}  // namespace

Outcome resume_saved(Engine& engine, Checkpoint checkpoint, const CommonOptions& options) {
  try {
    return resume_or_throw(engine, std::move(checkpoint), options);
  } catch (const Error& error) {
    return {report_error(error, options.json), {}};
  }
}

Outcome execute(Engine& engine, const Pipeline& pipeline, CompileOptions compile, const CommonOptions& options) {
  try {
    return execute_or_throw(engine, pipeline, std::move(compile), options);
  } catch (const Error& error) {
    return {report_error(error, options.json), {}};
  }
}

}  // namespace morph::command
