// The Engine: compiles against what this machine has, loads stages once for all runs that ask for the same, and asks
// the ledger before it loads a plan or lets a run in.
#include "morph/engine.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

#include "base/machine_memory.h"
#include "exec/executors.h"
#include "graph/compile.h"
#include "graph/flat_document.h"
#include "graph/memory_plan.h"
#include "graph/run_params.h"
#include "graph/stage_key.h"
#include "host/admission.h"
#include "host/file_records.h"
#include "host/ledger.h"
#include "host/stage_cache.h"
#include "host/stage_memory.h"
#include "morph/cores.h"
#include "morph/log.h"

namespace morph {
namespace {

using LoadProgress = std::function<void(double, std::string_view)>;

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
  std::shared_ptr<Ledger> ledger = std::make_shared<Ledger>(
      MachineView{process_memory, [] { return process_memory_limit().bytes; }, [] { return unreclaimable_memory(); }});

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
    const std::string key = stage_key(node, plan.n_threads);
    if (std::shared_ptr<const Stage> stage = cache->find(key, find_model())) return stage;
    std::vector<UsedModel> used;
    std::vector<const Format*> inputs, outputs;
    for (const std::optional<Format>& format : node.inputs) inputs.push_back(format ? &*format : nullptr);
    for (const std::optional<Format>& format : node.outputs) outputs.push_back(format ? &*format : nullptr);
    const std::string where = plan.name + "/" + node.name;
    const Params params = of_scope(*node.spec, node.params, ParamScope::load);
    const CreateContext context{params,
                                inputs,
                                outputs,
                                noting(used),
                                models,
                                node.device,
                                n_threads,
                                where,
                                [&](double fraction, std::string_view what) { meter.set(index, fraction, what); },
                                make_stage_memory(ledger, node.device, where, key)};
    std::shared_ptr<const Stage> stage;
    try {
      stage = node.spec->create(context);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {  // an edge: a library's exception becomes ours, with the place
      if (is_short_of_memory(error))
        throw Error(ErrorCode::resource, where,
                    fmt::format("expected {} to load {}, found too little memory ({}); close other programs, choose a "
                                "smaller model, or raise the limit",
                                to_bytes_text(plus(node.estimate.weights, node.estimate.load_peak)), node.spec->name,
                                error.what()));
      throw Error(ErrorCode::internal, where, fmt::format("{} could not be loaded: {}", node.spec->name, error.what()));
    }
    if (stage == nullptr) throw Error(ErrorCode::internal, where, node.spec->name + " created nothing");
    cache->add(key, stage, std::move(used));
    return stage;
  }

  /// The plan's stages, loaded unless they are. A plan that is loaded never waits for one that is loading.
  StagesInUse load(const std::shared_ptr<const Plan>& plan, const LoadProgress& progress) {
    if (std::optional<StagesInUse> loaded = cache->use(*plan)) return std::move(*loaded);
    cache->prune();
    const std::lock_guard<std::mutex> one_load(load_mutex);
    if (std::optional<StagesInUse> loaded = cache->use(*plan)) return std::move(*loaded);
    const PlanClaims claims = plan_claims(*plan);
    MemoryRequest request;
    request.who = plan->name;
    request.budget = plan->options.memory_budget;
    request.claims = claims.loaded;
    request.claims.push_back({kHostMemory, MemoryKind::loading, "", claims.load_peak, false});
    const std::shared_ptr<Grant> loading = ledger->admit(request);
    request.claims.pop_back();
    const std::uint64_t ticket = cache->next_ticket();
    request.give_up = [weak = std::weak_ptr<StageCache>(cache), plan = plan.get(), ticket] {
      if (const std::shared_ptr<StageCache> alive = weak.lock()) alive->give_up(plan, ticket);
      ::malloc_trim(0);
    };
    StagesInUse result;
    const std::shared_ptr<Grant> grant = ledger->admit_in_use(std::move(request), result.use);
    result.stages = load_stages(plan, progress);
    grant->hold();
    cache->keep(plan, result.stages, grant, ticket);
    return result;
  }

  /// All stages of the plan, at most two loading at once (the memory plan counts on that).
  Stages load_stages(const std::shared_ptr<const Plan>& plan, const LoadProgress& progress) {
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
    return result;
  }

  /// Makes a run inside the memory that what is in use leaves.
  template <class Make>
  std::unique_ptr<Run> admit(const std::shared_ptr<const Plan>& plan, const Make& make) {
    if (plan == nullptr)
      throw Error(ErrorCode::pipeline, "engine", "expected a plan, found none: did compile() find errors?");
    PlanClaims claims = plan_claims(*plan);
    MemoryRequest request;
    request.who = plan->name;
    request.budget = plan->options.memory_budget;
    request.claims = std::move(claims.loaded);
    request.claims.insert(request.claims.end(), claims.run.begin(), claims.run.end());
    std::shared_ptr<Grant> grant = ledger->admit(std::move(request));
    StagesInUse loaded = load(plan, nullptr);
    std::unique_ptr<Run> run = make(std::move(loaded.stages));
    grant->hold();
    struct Ticket {
      std::shared_ptr<Grant> grant;
      std::shared_ptr<void> use;
    };
    return admitted(std::move(run), std::make_shared<Ticket>(Ticket{std::move(grant), std::move(loaded.use)}));
  }

  /// What a run's checkpoints say it was made from. Other processes may have another working folder: paths are
  /// absolute.
  Checkpoint origin_of(const Plan& plan) const {
    FlatDocument flat = flat_document(plan, registry, library);
    Checkpoint origin;
    origin.pipeline = std::move(flat.pipeline);
    origin.options = std::move(flat.options);
    for (Binding& binding : origin.options.bindings) {
      if (!binding.params.has("path") || binding.params.get_string("path") == "-") continue;
      const std::filesystem::path path = binding.params.get_string("path");
      binding.params.set("path", std::filesystem::absolute(path).lexically_normal().string());
    }
    for (PipelineStage& stage : origin.pipeline.stages) {  // so are models that were named by their place
      const Params given = stage.params;
      for (const auto& [name, value] : given.values()) {
        const std::string* model = std::get_if<std::string>(&value);
        if (model == nullptr || model->empty() || !names_model(name)) continue;
        if (const std::filesystem::path found = locator.find(*model); found == *model)
          stage.params.set(name, std::filesystem::absolute(found).lexically_normal().string());
      }
    }
    origin.weights = weight_records(plan, find_model());
    origin.inputs = input_records(plan);
    return origin;
  }

  /// Asked when the run is made where it is known that it will be saved: the files it loads are the ones recorded.
  exec::RunOrigin origin(const std::shared_ptr<const Plan>& plan, const RunOptions& options) const {
    if (options.checkpoint.empty()) return [this, plan] { return origin_of(*plan); };
    return [made = origin_of(*plan)] { return made; };
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
  const ProcessMemoryLimit limit = process_memory_limit();
  CompileEnvironment environment{
      impl_->registry,       impl_->library, impl_->find_model(),     impl_->ledger->see(impl_->registry.devices()),
      impl_->process_memory, limit.bytes,    impl_->options.n_threads};
  if (limit.by_address_space)
    environment.memory_limit_is = [](std::uint64_t needed) {
      return fmt::format(
          "what its limit of address space leaves room for (stacks, heaps and mapped files reserve more "
          "than they use; `ulimit -v {}` would do)",
          address_space_for(needed) / 1024);
    };
  environment.booked = [this](const Plan& plan, MemoryPlan& memory) {
    PlanClaims claims = plan_claims(plan);
    claims.loaded.insert(claims.loaded.end(), claims.run.begin(), claims.run.end());
    memory.held = plus(std::min(resident_memory(), impl_->process_memory), impl_->ledger->held(claims.loaded));
    std::tie(memory.others, memory.others_idle) = impl_->ledger->others(claims.loaded);
  };
  CompileResult result = compile_pipeline(pipeline, options, environment);
  result.plan = StageCache::watch(impl_->cache, std::move(result.plan));
  return result;
}

std::shared_ptr<const Plan> Engine::adopt(Plan plan) const {
  return StageCache::watch(impl_->cache, std::make_shared<const Plan>(std::move(plan)));
}

void Engine::load(const std::shared_ptr<const Plan>& plan,
                  const std::function<void(double fraction, std::string_view what)>& progress) {
  if (plan == nullptr)
    throw Error(ErrorCode::pipeline, "engine", "expected a plan, found none: did compile() find errors?");
  impl_->load(plan, progress);
}

MemoryReport Engine::memory() const { return impl_->ledger->report(); }

std::unique_ptr<Run> Engine::create_run(const std::shared_ptr<const Plan>& plan, const RunOptions& options) {
  return impl_->admit(plan, [&](Stages stages) {
    return impl_->executors->create(plan, std::move(stages), options, impl_->origin(plan, options));
  });
}

std::unique_ptr<Run> Engine::resume_run(const std::filesystem::path& file, const RunOptions& options) {
  Checkpoint checkpoint = read_checkpoint(file);
  checkpoint.run.on_progress = options.on_progress;
  checkpoint.run.trace = options.trace;
  return resume_run(checkpoint);
}

std::unique_ptr<Run> Engine::resume_run(const Checkpoint& checkpoint) {
  if (checkpoint.finished) {
    std::error_code ignored;  // a process that was killed right after it had finished leaves its segments
    std::filesystem::remove_all(parts_folder(checkpoint.file), ignored);
    throw Error(ErrorCode::config, checkpoint.file.string(),
                "the run of this checkpoint is finished: what it made is whole, and nothing is left to resume");
  }
  const CompileResult compiled = compile(checkpoint.pipeline, checkpoint.options);
  if (compiled.plan == nullptr) {
    std::string text = "the checkpoint's pipeline does not compile here:";
    ErrorCode code = ErrorCode::pipeline;
    for (const Diagnostic& each : compiled.diagnostics) {
      if (each.severity != Diagnostic::Severity::error) continue;
      if (code == ErrorCode::pipeline) code = each.code;
      text += "\n  " + each.where + ": " + each.message;
    }
    throw Error(code, checkpoint.file.string(), text);
  }
  check_records(checkpoint.inputs, input_records(*compiled.plan), ErrorCode::config);
  Checkpoint origin = checkpoint;
  origin.weights = weight_records(*compiled.plan, impl_->find_model());
  check_records(checkpoint.weights, origin.weights, ErrorCode::weights);
  return impl_->admit(compiled.plan, [&](Stages stages) {
    return impl_->executors->resume(compiled.plan, std::move(stages), checkpoint.file, checkpoint.run,
                                    [origin] { return origin; });
  });
}

}  // namespace morph
