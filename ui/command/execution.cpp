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

Outcome execute_or_throw(Engine& engine, const Pipeline& pipeline, CompileOptions compile,
                         const CommonOptions& options) {
  Outcome outcome;
  InterruptWatch watch;
  const std::vector<std::string> files = output_files(engine, compile);
  check_outputs(input_files(engine, compile), files, options.trace);
  // By-products are worth showing to a person, and to nobody else.
  const bool shows = options.show || (!options.quiet && !options.json && isatty(STDERR_FILENO) != 0);
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
  const bool text_on_terminal = files.empty() && isatty(STDOUT_FILENO) != 0;
  if (!text_on_terminal && shown.empty()) {
    run_options.on_progress = [&](const std::string& stage, double fraction, std::string_view what) {
      progress.show(fraction, what.empty() ? std::string_view(stage) : what);
    };
  }
  const std::unique_ptr<Run> run = engine.create_run(compiled.plan, run_options);
  const CancelByInterrupt cancels(watch, *run);  // to the end: what is whole by then gets its record
  {
    const ByProducts by_products(*run, shown);
    run->start();
    run->wait();
  }
  progress.clear();
  for (const auto& [stage, metrics] : run->metrics())
    for (const std::string& note : metrics.notes)
      write_message(fmt::format("warning: {}: {}\n", shown_text(stage), shown_text(note, true)));
  for (const LossReport& loss : run->result().losses)
    write_message(fmt::format("warning: {}: {} {}{} {}\n", shown_text(loss.stage), loss.count, shown_text(loss.what),
                              loss.count == 1 ? "" : "s", to_string(loss.loss)));
  if (options.metrics) print_metrics(*run);
  for (const std::string& file : files) {
    keep_provenance(file, record);
    outcome.outputs.push_back(file);
  }
  if (options.json && !files.empty()) {
    nlohmann::json names = nlohmann::json::array();
    for (const std::string& file : outcome.outputs) names.push_back(nlohmann::json::parse(text_as_json(file)));
    nlohmann::json result = {{"pipeline", pipeline.name}, {"outputs", names}};
    if (!record.empty()) result["provenance"] = nlohmann::json::parse(record);
    fmt::print("{}\n", result.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  return outcome;
}

}  // namespace

Outcome execute(Engine& engine, const Pipeline& pipeline, CompileOptions compile, const CommonOptions& options) {
  try {
    return execute_or_throw(engine, pipeline, std::move(compile), options);
  } catch (const Error& error) {
    return {report_error(error, options.json), {}};
  }
}

}  // namespace morph::command
