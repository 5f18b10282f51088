// `morph resume FILE`: goes on with a run that was saved (--checkpoint) and killed.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "console.h"
#include "execution.h"
#include "options.h"
#include "subcommands.h"

namespace morph::command {
namespace {

struct ResumeOptions {
  CommonOptions common;
  std::string file;
  std::string out;
};

/// The one sink's place becomes `out`.
void move_output(const Engine& engine, Checkpoint& checkpoint, const std::string& out) {
  Binding* only = nullptr;
  for (Binding& binding : checkpoint.options.bindings) {
    const StageSpec* spec = engine.registry().find_stage(binding.stage);
    if (spec == nullptr || spec->sink_of.empty() || !binding.params.has("path")) continue;
    if (only != nullptr)
      throw Error(ErrorCode::config, "-o", "expected a run with one output, found several; leave -o out");
    only = &binding;
  }
  if (only == nullptr) throw Error(ErrorCode::config, "-o", "expected a run that writes a file, found none");
  only->params.set("path", std::filesystem::absolute(out).lexically_normal().string());
}

int resume(const ResumeOptions& options) {
  Checkpoint checkpoint = read_checkpoint(options.file);
  CommonOptions common = options.common;
  if (common.threads == 0) common.threads = checkpoint.options.n_threads;
  const std::unique_ptr<Engine> engine = make_engine(common);
  checkpoint.options.n_threads = common.threads;
  if (!common.memory.empty()) checkpoint.options.memory_budget = parse_bytes(common.memory, "--memory");
  if (!common.device.empty()) checkpoint.options.device = common.device;
  if (!options.out.empty()) move_output(*engine, checkpoint, options.out);
  return resume_saved(*engine, std::move(checkpoint), common).exit_code;
}

}  // namespace

void add_resume(CLI::App& app, CommandResult& result) {
  auto options = std::make_shared<ResumeOptions>();
  CLI::App* command = app.add_subcommand("resume", "Go on with a run that was saved with --checkpoint and killed");
  CommonOptions& common = options->common;
  command->add_option("FILE", options->file, "The checkpoint; its folder FILE.parts lies beside it")->required();
  command->add_option("-o,--output", options->out, "Make the output here (default: where the run was to make it)");
  command->add_option("--device", common.device, "Device to use instead of the run's");
  command->add_option("--memory", common.memory, "Memory budget of the whole process, e.g. 2GiB");
  command->add_option("--threads", common.threads, "Thread budget (default: as then; another may change the result)")
      ->check(CLI::Range(1, 1024));
  add_checkpoint_interval(*command, common);
  command->add_option("--trace", common.trace, "Write a trace to this file");
  command->add_flag("--metrics", common.metrics, "Print what each stage did, to stderr");
  command->add_flag("--json", common.json, "Machine-readable output");
  command->add_flag("-q,--quiet", common.quiet, "No progress");
  command->callback([&result, options] { result.exit_code = resume(*options); });
}

}  // namespace morph::command
