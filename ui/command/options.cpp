// Shared options of the subcommands. See options.h.
#include "options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <map>

#include "console.h"
#include "morph/cores.h"
#include "morph/message.h"
#include "morph/place.h"

namespace morph::command {

void add_common_options(CLI::App& app, CommonOptions& options) {
  app.add_option("--memory", options.memory,
                 "Memory budget of the whole process, e.g. 2GiB: kept, or refused before anything loads");
  app.add_option("--device", options.device,
                 "Device to use (see `morph models --devices`): cpu, cuda:0, npu. One that is absent is an error");
  app.add_option("--threads", options.threads, "Thread budget of all libraries together (default: all cores)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--seed", options.seed, "Seed of everything random (default 0)");
  app.add_option("-p,--param", options.params,
                 "Parameter of the pipeline: name=value, or stage.name=value (repeatable)")
      ->type_name("NAME=VALUE");
  app.add_option("--trace", options.trace, "Write a trace to this file; open it in Perfetto or chrome://tracing");
  app.add_option("--provenance", options.provenance,
                 "What outputs say of how they were made: full (default), discreet (no folders, no texts), none")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Provenance>{
          {"full", Provenance::full}, {"discreet", Provenance::discreet}, {"none", Provenance::none}}))
      ->type_name("");
  app.add_flag("--force", options.force, "Let the output take the place of an input");
  app.add_flag("--metrics", options.metrics, "Print what each stage did, to stderr");
  app.add_flag("--show", options.show,
               "Print by-products (what was heard, the answer in writing) to stderr; a terminal gets them anyway");
  app.add_flag("--json", options.json, "Machine-readable output");
  app.add_flag("-q,--quiet", options.quiet, "No progress");
}

void add_checkpoint_options(CLI::App& app, CommonOptions& options) {
  app.add_option(
      "--checkpoint", options.checkpoint,
      "Save the work to this file as it goes; after a crash or a kill, `morph resume FILE` goes on from there");
  add_checkpoint_interval(app, options);
}

void add_checkpoint_interval(CLI::App& app, CommonOptions& options) {
  app.add_option("--checkpoint-every", options.checkpoint_every, "How often it is saved: 500ms, 5s, 2m (default 5s)");
}

std::string version() { return MORPH_VERSION; }

std::unique_ptr<Engine> make_engine(const CommonOptions& options) {
  EngineOptions engine;
  engine.n_threads = options.threads;
  if (const int cores = usable_cores(); options.threads > cores) {
    write_message(fmt::format("warning: --threads {}: this process may use {} core{}; it gets as many threads\n",
                              options.threads, cores, cores == 1 ? "" : "s"));
    engine.n_threads = cores;
  }
  if (const char* extra = std::getenv("MORPH_PIPELINES")) engine.pipeline_folders.emplace_back(extra);
  engine.pipeline_folders.push_back(share_folder() / "pipelines");
  return std::make_unique<Engine>(std::move(engine), register_everything);
}

CompileOptions compile_options(const CommonOptions& options) {
  CompileOptions compile;
  compile.device = options.device;
  compile.n_threads = options.threads;
  if (!options.memory.empty()) compile.memory_budget = parse_bytes(options.memory, "--memory");
  return compile;
}

}  // namespace morph::command
