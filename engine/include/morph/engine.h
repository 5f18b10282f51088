// Engine: the one object a program makes. Owns the registry, loaded models, executors and the thread budget.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "morph/checkpoint.h"
#include "morph/device.h"
#include "morph/memory.h"
#include "morph/model.h"
#include "morph/pipeline.h"
#include "morph/registry.h"
#include "morph/run.h"

namespace morph {

struct EngineOptions {
  int n_threads = 0;                                    ///< budget for all libraries together; 0 = hardware threads
  std::vector<std::filesystem::path> pipeline_folders;  ///< searched in order
  std::vector<std::filesystem::path> model_folders;     ///< empty = ModelLocator's default
};

/// Thread-safe. Outlives its runs.
class Engine {
 public:
  /// `fill` registers stages and families; programs pass morph::register_everything, tests their own.
  Engine(EngineOptions options, const std::function<void(Registry&)>& fill);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const Registry& registry() const;
  const PipelineLibrary& pipelines() const;
  const ModelLocator& locator() const;
  ModelStore& models();
  int n_threads() const;

  /// All diagnostics of a pipeline; reads no weights. Never throws for what the document can be blamed for.
  CompileResult compile(const Pipeline& pipeline, const CompileOptions& options) const;
  /// A plan that was copied from one of compile() and changed, as compile() would have returned it.
  std::shared_ptr<const Plan> adopt(Plan plan) const;
  /// Loads every stage of the plan (weights, delegates), in parallel where it pays. `progress` may be null.
  /// Throws the first Error, or what `progress` threw. Run creation does this too when it was not called.
  /// A plan keeps the weights it was first loaded with, and they go with its last owner, or when something else needs
  /// their room and no run uses them: then the next run loads them again. When a model's files are replaced, plans
  /// compiled afterwards load the new ones. Throws Error{resource} when the room is not to be had: what was needed,
  /// who holds it, what would fit.
  void load(const std::shared_ptr<const Plan>& plan,
            const std::function<void(double fraction, std::string_view what)>& progress);
  /// A run that has not started. Throws Error{resource} as load() does, also when it would break the memory budget of a
  /// live run.
  std::unique_ptr<Run> create_run(const std::shared_ptr<const Plan>& plan, const RunOptions& options);
  /// A run, not started, that goes on from what was saved (see Run::checkpoint), and is saved to the same file again.
  /// `options` gives observers (progress, trace); seed, priority and strict are the run's own. Throws what
  /// read_checkpoint() does, Error{config} for a run that is finished, whose input has changed or that another process
  /// works on, Error{weights} naming the file where the model is not the one it was begun with, and the first error of
  /// compiling it here.
  std::unique_ptr<Run> resume_run(const std::filesystem::path& file, const RunOptions& options);
  /// The same with what the caller changed in `checkpoint.options` (another device, other places for its outputs).
  std::unique_ptr<Run> resume_run(const Checkpoint& checkpoint);

  /// What is held and promised, on the host and on every device.
  MemoryReport memory() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace morph
