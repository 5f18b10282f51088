// Compiles a pipeline, loads it, runs it to the end with progress and a clean Ctrl-C, and reports.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "morph/engine.h"
#include "options.h"

namespace morph::command {

/// What `morph replay` needs to compare.
struct Outcome {
  int exit_code = 0;
  std::vector<std::string> outputs;  ///< files written
};

/// Runs `pipeline` with the bindings of `compile` and prints results, diagnostics and errors. Provenance goes into
/// every output (see provenance.h). Never throws for the pipeline's or the run's failures: they are printed and become
/// the exit code.
Outcome execute(Engine& engine, const Pipeline& pipeline, CompileOptions compile, const CommonOptions& options);

/// Goes on with a run that was saved, whose options the caller may have changed, and saves it to the same file. Prints
/// and throws as execute() does.
Outcome resume_saved(Engine& engine, Checkpoint checkpoint, const CommonOptions& options);

}  // namespace morph::command
