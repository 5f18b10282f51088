// libllama keeps its log target and module list per process, so this does too: a function-local once_flag is the only
// state. The CPU module is loaded at run time (GGML_BACKEND_DL), hence its functions are asked for by name.
#include "llama/runtime.h"

#include <fmt/format.h>
#include <ggml-cpu.h>
#include <llama.h>

#include <cctype>
#include <map>
#include <mutex>
#include <string_view>

#include "morph/error.h"
#include "morph/log.h"

namespace morph::backbone {
namespace {

void forward_log(ggml_log_level level, const char* text, void* /*user*/) {
  std::string_view line(text);
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  if (line.empty() || line == ".") return;
  LogLevel ours = LogLevel::trace;
  if (level == GGML_LOG_LEVEL_ERROR) ours = LogLevel::error;
  if (level == GGML_LOG_LEVEL_WARN) ours = LogLevel::debug;  // mostly advice about settings that we chose on purpose
  if (level == GGML_LOG_LEVEL_INFO) ours = LogLevel::debug;
  log(ours, "backbone/llama", line);
}

template <class Function>
Function cpu_function(const char* name) {
  ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  if (device == nullptr) return nullptr;
  return reinterpret_cast<Function>(ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), name));
}

std::string our_name(ggml_backend_dev_t device, int index) {
  if (ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU) return "cpu";
  std::string family = ggml_backend_reg_name(ggml_backend_dev_backend_reg(device));
  for (char& c : family) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return fmt::format("{}:{}", family, index);
}

}  // namespace

void ensure_runtime() {
  static std::once_flag once;
  std::call_once(once, [] {
    llama_log_set(forward_log, nullptr);
    if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) == nullptr) ggml_backend_load_all();
    llama_backend_init();
  });
  if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) == nullptr)
    throw Error(ErrorCode::device, "cpu",
                "expected a CPU module of ggml in the substrate prefix, found none; build it again with "
                "setup/substrate.sh");
}

ggml_backend_dev_t find_device(const std::string& device) {
  ensure_runtime();
  std::string known;
  std::map<std::string, int> counts;
  for (std::size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    ggml_backend_dev_t candidate = ggml_backend_dev_get(i);
    const auto type = ggml_backend_dev_type(candidate);
    if (type == GGML_BACKEND_DEVICE_TYPE_ACCEL) continue;
    const std::string family = ggml_backend_reg_name(ggml_backend_dev_backend_reg(candidate));
    const std::string name = our_name(candidate, counts[family]++);
    if (name == device) return candidate;
    known += known.empty() ? name : ", " + name;
  }
  throw Error(ErrorCode::device, device,
              fmt::format("expected one of the devices {} for a language model, found no '{}'; choose another executor "
                          "or install its module",
                          known, device));
}

ThreadPool::ThreadPool(int n_threads) {
  const auto make = cpu_function<ggml_threadpool* (*)(ggml_threadpool_params*)>("ggml_threadpool_new");
  free_ = cpu_function<void (*)(ggml_threadpool*)>("ggml_threadpool_free");
  if (make == nullptr || free_ == nullptr) return;
  ggml_threadpool_params params = ggml_threadpool_params_default(n_threads);
  pool_ = make(&params);
}

ThreadPool::~ThreadPool() {
  if (pool_ != nullptr) free_(pool_);
}

}  // namespace morph::backbone
