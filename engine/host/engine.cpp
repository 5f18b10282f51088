// The Engine: compiles against what this machine has, loads stages once for all runs that ask for the same, and lets a
// run in only when its memory and that of the live runs fit together.
#include "morph/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/machine_memory.h"
#include "exec/executors.h"
#include "graph/compile.h"
#include "graph/memory_plan.h"
#include "graph/run_params.h"
#include "host/admission.h"
#include "host/stage_cache.h"
#include "morph/cores.h"
#include "morph/log.h"

namespace morph {
namespace {

using LoadProgress = std::function<void(double, std::string_view)>;

/// Nodes with equal keys are one stage object: runs of one plan, and of plans that agree, batch together. Parameters of
/// runs are no part of it.
std::string stage_key(const PlanNode& node, int n_threads) {
  std::string key = fmt::format("{}|{}|{}", node.spec->name, node.device, n_threads);
  const Params loading = of_scope(*node.spec, node.params, ParamScope::load);
  for (const auto& [name, value] : loading.values()) key += "|" + name + "=" + to_string(value);
  for (const auto* side : {&node.inputs, &node.outputs}) {
    key += "|>";
    for (const std::optional<Format>& format : *side) key += "|" + (format ? to_string(*format) : "-");
  }
  return key;
}

/// Adds up the loading of several stages, weighed by their bytes, into one fraction.
class LoadMeter {
 public:
  LoadMeter(const Plan& plan, const LoadProgress& report) : report_(report), done_(plan.nodes.size(), 0.0) {
    for (const PlanNode& node : plan.nodes)
      weights_.push_back(node.spec == nullptr ? 0.0 : 1.0 + static_cast<double>(node.estimate.weights));
    for (const double weight : weights_) sum_ += weight;
  }
  void set(std::size_t node, double fraction, std::string_view what) {
    if (!report_ || sum_ <= 0.0) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (thrown_) std::rethrow_exception(thrown_);
    done_[node] = std::clamp(fraction, done_[node], 1.0);
    double done = 0.0;
    for (std::size_t i = 0; i < done_.size(); ++i) done += done_[i] * weights_[i];
    try {
      report_(done / sum_, what);
    } catch (...) {  // an edge: the application's; it ends the loading of every stage
      thrown_ = std::current_exception();
      throw;
    }
  }
  /// What the application's function threw, whatever became of it on its way through a stage; null: nothing.
  std::exception_ptr thrown() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return thrown_;
  }

 private:
  const LoadProgress& report_;
  std::mutex mutex_;
  std::vector<double> done_, weights_;
  double sum_ = 0.0;
  std::exception_ptr thrown_;
};

}  // namespace

struct Engine::Impl {
  EngineOptions options;
  Registry registry;
  PipelineLibrary library;
  ModelLocator locator;
  ModelStore models;
  std::uint64_t process_memory = bare_process_memory();
  std::shared_ptr<Admission> admission = std::make_shared<Admission>();

  std::shared_ptr<StageCache> cache = std::make_shared<StageCache>();
  std::mutex load_mutex;  ///< one load at a time: its parts run in parallel

  std::unique_ptr<exec::Executors> executors;  // last: destroyed first

  Impl(EngineOptions given)
      : options(std::move(given)),
        library(options.pipeline_folders),
        locator(options.model_folders.empty() ? ModelLocator() : ModelLocator(options.model_folders)) {
    if (options.n_threads <= 0) options.n_threads = usable_cores();
  }

  std::function<std::filesystem::path(const std::string&)> find_model() const {
    return [this](const std::string& model) { return locator.find(model); };
  }

  /// find_model() that notes what was asked for. A model whose files were replaced is loaded anew even while somebody
  /// holds the old one.
  StageCache::FindModel noting(std::vector<UsedModel>& used) {
    return [this, &used](const std::string& name) {
      UsedModel model{name, locator.find(name), 0};
      model.fingerprint = files_fingerprint(model.path);
      if (cache->changed(model)) models.forget(model.path);
      used.push_back(model);
      return model.path;
    };
  }

  std::shared_ptr<const Stage> create_stage(const Plan& plan, std::size_t index, LoadMeter& meter) {
    const PlanNode& node = plan.nodes[index];
    const int n_threads = node.spec->load == StageLoad::heavy ? plan.n_threads : 1;
    const std::string key = stage_key(node, n_threads);
    if (std::shared_ptr<const Stage> stage = cache->find(key, find_model())) return stage;
    std::vector<UsedModel> used;
    std::vector<const Format*> inputs, outputs;
    for (const std::optional<Format>& format : node.inputs) inputs.push_back(format ? &*format : nullptr);
    for (const std::optional<Format>& format : node.outputs) outputs.push_back(format ? &*format : nullptr);
    const std::string where = plan.name + "/" + node.name;
    const Params params = of_scope(*node.spec, node.params, ParamScope::load);
    const CreateContext context{
        params,       inputs, outputs,
        noting(used), models, node.device,
        n_threads,    where,  [&](double fraction, std::string_view what) { meter.set(index, fraction, what); }};
    std::shared_ptr<const Stage> stage;
    try {
      stage = node.spec->create(context);
    } catch (const Error&) {
      throw;
    } catch (const std::bad_alloc&) {
      throw Error(ErrorCode::resource, where,
                  "out of memory while loading; give the engine a smaller pipeline or budget");
    } catch (const std::exception& error) {  // an edge: a library's exception becomes ours, with the place
      throw Error(ErrorCode::internal, where, fmt::format("{} could not be loaded: {}", node.spec->name, error.what()));
    }
    if (stage == nullptr) throw Error(ErrorCode::internal, where, node.spec->name + " created nothing");
    cache->add(key, stage, std::move(used));
    return stage;
  }

  /// All stages of the plan, at most two loading at once (the memory plan counts on that).
  Stages load(const std::shared_ptr<const Plan>& plan, const LoadProgress& progress) {
    if (plan == nullptr)
      throw Error(ErrorCode::pipeline, "engine", "expected a plan, found none: did compile() find errors?");
    cache->prune();
    if (Stages stages = cache->stages_of(*plan); !stages.empty()) return stages;  // waits for no other plan's loading
    const std::lock_guard<std::mutex> one_load(load_mutex);
    if (Stages stages = cache->stages_of(*plan); !stages.empty()) return stages;
    // Nodes that are the same stage load once: the first makes it, the others find it afterwards.
    std::map<std::string, std::vector<std::size_t>> by_key;
    std::vector<std::vector<std::size_t>> work;
    for (std::size_t i = 0; i < plan->nodes.size(); ++i)
      if (plan->nodes[i].spec != nullptr) by_key[stage_key(plan->nodes[i], 0)].push_back(i);
    for (auto& [key, nodes] : by_key) work.push_back(std::move(nodes));
    std::stable_sort(work.begin(), work.end(), [&](const auto& a, const auto& b) {
      return plan->nodes[a.front()].estimate.weights > plan->nodes[b.front()].estimate.weights;
    });
    LoadMeter meter(*plan, progress);
    Stages result(plan->nodes.size());
    std::atomic<std::size_t> next{0};
    std::mutex failure_mutex;
    std::exception_ptr failure;
    const auto worker = [&] {
      for (std::size_t i = next++; i < work.size(); i = next++) {
        try {
          for (const std::size_t node : work[i]) {
            result[node] = create_stage(*plan, node, meter);
            meter.set(node, 1.0, plan->nodes[node].name);
          }
        } catch (...) {  // an edge: carried to the caller's thread
          const std::lock_guard<std::mutex> lock(failure_mutex);
          if (!failure) failure = std::current_exception();
          next = work.size();
        }
      }
    };
    const bool parallel = std::count_if(plan->nodes.begin(), plan->nodes.end(),
                                        [](const PlanNode& node) { return node.estimate.weights > 0; }) > 1;
    std::thread second;
    try {
      if (parallel) second = std::thread(worker);
    } catch (const std::system_error& error) {
      log(LogLevel::warning, "engine", fmt::format("no thread to load with ({}); loading one by one", error.what()));
    }
    worker();
    if (second.joinable()) second.join();
    if (const std::exception_ptr thrown = meter.thrown()) std::rethrow_exception(thrown);
    if (failure) std::rethrow_exception(failure);
    cache->keep(plan, result);
    return result;
  }

  /// Makes a run inside the memory that live runs leave.
  template <class Make>
  std::unique_ptr<Run> admit(const std::shared_ptr<const Plan>& plan, const Make& make) {
    if (plan == nullptr)
      throw Error(ErrorCode::pipeline, "engine", "expected a plan, found none: did compile() find errors?");
    std::shared_ptr<void> ticket = admission->enter(admission, plan, process_memory, machine_limit());
    return admitted(make(load(plan, nullptr)), std::move(ticket));
  }

  std::uint64_t machine_limit() const {
    const std::uint64_t available = available_memory();
    return available == 0 ? 0 : available + resident_memory();
  }
};

Engine::Engine(EngineOptions options, const std::function<void(Registry&)>& fill)
    : impl_(std::make_unique<Impl>(std::move(options))) {
  if (fill) fill(impl_->registry);
  exec::ExecutorsOptions executors;
  executors.n_threads = impl_->options.n_threads;
  executors.registry = &impl_->registry;
  impl_->executors = std::make_unique<exec::Executors>(std::move(executors));
}

Engine::~Engine() = default;

const Registry& Engine::registry() const { return impl_->registry; }
const PipelineLibrary& Engine::pipelines() const { return impl_->library; }
const ModelLocator& Engine::locator() const { return impl_->locator; }
ModelStore& Engine::models() { return impl_->models; }
int Engine::n_threads() const { return impl_->options.n_threads; }

CompileResult Engine::compile(const Pipeline& pipeline, const CompileOptions& options) const {
  const CompileEnvironment environment{impl_->registry,           impl_->library,        impl_->find_model(),
                                       impl_->registry.devices(), impl_->process_memory, impl_->machine_limit(),
                                       impl_->options.n_threads};
  CompileResult result = compile_pipeline(pipeline, options, environment);
  result.plan = StageCache::watch(impl_->cache, std::move(result.plan));
  return result;
}

void Engine::load(const std::shared_ptr<const Plan>& plan,
                  const std::function<void(double fraction, std::string_view what)>& progress) {
  impl_->load(plan, progress);
}

std::unique_ptr<Run> Engine::create_run(const std::shared_ptr<const Plan>& plan, const RunOptions& options) {
  return impl_->admit(plan, [&](Stages stages) { return impl_->executors->create(plan, std::move(stages), options); });
}

std::unique_ptr<Run> Engine::resume_run(const std::filesystem::path& file, const RunOptions& options) {
  const exec::CheckpointHeader header = exec::read_checkpoint_header(file);
  const CompileResult compiled = compile(parse_pipeline(header.pipeline_json, file.string()), header.options);
  if (compiled.plan == nullptr) {
    std::string text = "the checkpoint's pipeline does not compile here:";
    ErrorCode code = ErrorCode::pipeline;
    for (const Diagnostic& each : compiled.diagnostics) {
      if (each.severity != Diagnostic::Severity::error) continue;
      if (code == ErrorCode::pipeline) code = each.code;
      text += "\n  " + each.where + ": " + each.message;
    }
    throw Error(code, file.string(), text);
  }
  RunOptions resumed = options;
  resumed.seed = header.seed;
  return impl_->admit(compiled.plan, [&](Stages stages) {
    return impl_->executors->resume(compiled.plan, std::move(stages), file, resumed);
  });
}

}  // namespace morph
