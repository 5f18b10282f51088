// Executors: see executors.h.
#include "exec/executors.h"

#include <utility>

#include "exec/checkpoint.h"
#include "exec/checkpoint_header.h"
#include "exec/executor.h"
#include "exec/run_impl.h"

namespace morph::exec {

Executors::Executors(ExecutorsOptions options) : core_(std::make_shared<Core>(std::move(options))) {
  core_->start_workers();  // throwing, it leaves those there are to ~Core
}
Executors::~Executors() { core_->stop(); }
int Executors::n_threads() const { return core_->n_threads(); }

std::unique_ptr<Run> Executors::create(std::shared_ptr<const Plan> plan,
                                       std::vector<std::shared_ptr<const Stage>> stages, RunOptions options,
                                       RunOrigin origin) {
  auto graph = make_run_graph(std::move(plan), std::move(stages), std::move(options));
  graph->origin = std::move(origin);
  if (!graph->options.checkpoint.empty()) graph->folder = std::make_unique<RunFolder>(graph->options.checkpoint, true);
  return std::make_unique<RunImpl>(core_, std::move(graph));
}

std::unique_ptr<Run> Executors::resume(std::shared_ptr<const Plan> plan,
                                       std::vector<std::shared_ptr<const Stage>> stages,
                                       const std::filesystem::path& file, RunOptions options, RunOrigin origin) {
  const Checkpoint saved = read_checkpoint(file);
  refuse_finished(saved);
  options.seed = saved.run.seed;
  options.priority = saved.run.priority;
  options.strict = saved.run.strict;
  auto graph = make_run_graph(std::move(plan), std::move(stages), std::move(options));
  graph->origin = std::move(origin);
  if (!graph->options.checkpoint.empty()) graph->folder = std::make_unique<RunFolder>(graph->options.checkpoint, false);
  restore_run(*graph, file, core_->options().registry);
  return std::make_unique<RunImpl>(core_, std::move(graph));
}

}  // namespace morph::exec
