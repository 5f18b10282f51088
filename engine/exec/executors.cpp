// Executors: see executors.h.
#include "exec/executors.h"

#include <utility>

#include "exec/checkpoint.h"
#include "exec/executor.h"
#include "exec/run_impl.h"

namespace morph::exec {

Executors::Executors(ExecutorsOptions options) : core_(std::make_shared<Core>(std::move(options))) {
  core_->start_workers();  // throwing, it leaves those there are to ~Core
}
Executors::~Executors() { core_->stop(); }
int Executors::n_threads() const { return core_->n_threads(); }

std::unique_ptr<Run> Executors::create(std::shared_ptr<const Plan> plan,
                                       std::vector<std::shared_ptr<const Stage>> stages, RunOptions options) {
  return std::make_unique<RunImpl>(core_, make_run_graph(std::move(plan), std::move(stages), std::move(options)));
}

std::unique_ptr<Run> Executors::resume(std::shared_ptr<const Plan> plan,
                                       std::vector<std::shared_ptr<const Stage>> stages,
                                       const std::filesystem::path& file, RunOptions options) {
  const CheckpointHeader header = read_checkpoint_header(file);
  options.seed = header.seed;
  options.params = header.params;
  options.strict = header.strict;
  options.priority = header.priority;
  auto graph = make_run_graph(std::move(plan), std::move(stages), std::move(options));
  restore_run(*graph, file, core_->options().registry);
  return std::make_unique<RunImpl>(core_, std::move(graph));
}

}  // namespace morph::exec
