// ggml keeps its list of modules per process, so the once_flag here is the only state of ours.
#include "tensor/backend.h"

#include <fmt/format.h>

#include <cctype>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "morph/error.h"
#include "morph/log.h"
#include "morph/registry.h"

namespace morph::tensor {
namespace {

void forward_log(ggml_log_level level, const char* text, void* /*user*/) {
  std::string_view line(text);
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  if (line.empty() || line == ".") return;
  log(level == GGML_LOG_LEVEL_ERROR ? LogLevel::error : LogLevel::debug, "tensor/ggml", line);
}

std::vector<std::pair<std::string, ggml_backend_dev_t>> named_devices() {
  std::vector<std::pair<std::string, ggml_backend_dev_t>> devices;
  std::map<std::string, int> counts;
  for (std::size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    ggml_backend_dev_t device = ggml_backend_dev_get(i);
    const enum ggml_backend_dev_type type = ggml_backend_dev_type(device);
    if (type == GGML_BACKEND_DEVICE_TYPE_ACCEL || type == GGML_BACKEND_DEVICE_TYPE_META) continue;
    std::string family = ggml_backend_reg_name(ggml_backend_dev_backend_reg(device));
    for (char& c : family) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (type == GGML_BACKEND_DEVICE_TYPE_CPU)
      devices.emplace_back("cpu", device);
    else
      devices.emplace_back(fmt::format("{}:{}", family, counts[family]++), device);
  }
  return devices;
}

bool call_abort(void* user) {
  const auto& abort = *static_cast<const std::function<bool()>*>(user);
  return abort && abort();
}

}  // namespace

void load_modules() {
  static std::once_flag once;
  std::call_once(once, [] {
    ggml_log_set(forward_log, nullptr);
    if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) == nullptr) ggml_backend_load_all();
  });
  if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) == nullptr)
    throw Error(ErrorCode::device, "cpu",
                "expected a CPU module of ggml in the substrate's folder, found none; build it again with "
                "setup/substrate.sh");
}

void register_ggml_devices(Registry& registry) {
  registry.add_devices([] {
    load_modules();
    std::vector<DeviceInfo> infos;
    for (const auto& [id, device] : named_devices()) {
      DeviceInfo info;
      info.id = id;
      info.kind = id.substr(0, id.find(':'));
      info.name = ggml_backend_dev_description(device);
      std::size_t free_bytes = 0, total_bytes = 0;
      ggml_backend_dev_memory(device, &free_bytes, &total_bytes);
      info.free_bytes = free_bytes;
      info.total_bytes = total_bytes;
      info.provider = "ggml";
      infos.push_back(std::move(info));
    }
    return infos;
  });
}

ggml_backend_dev_t find_device(const std::string& id) {
  load_modules();
  std::string known;
  for (const auto& [name, device] : named_devices()) {
    if (name == id) return device;
    known += known.empty() ? name : ", " + name;
  }
  throw Error(
      ErrorCode::device, id,
      fmt::format("expected one of {}, found no such device; choose another executor or install its module", known));
}

void* cpu_symbol(const char* name) {
  load_modules();
  ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  return ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), name);
}

Backend::Backend(const std::string& device, int n_threads)
    : device_(device), abort_(std::make_unique<std::function<bool()>>()) {
  ggml_backend_dev_t found = find_device(device);
  backend_.reset(ggml_backend_dev_init(found, nullptr));
  if (!backend_)
    throw Error(ErrorCode::device, device,
                "expected the device to open, its driver refused; see the log for its reason");
  if (ggml_backend_dev_type(found) != GGML_BACKEND_DEVICE_TYPE_CPU) return;
  pool_ = shared_threadpool(n_threads);
  if (const auto set = cpu_function<ggml_backend_set_n_threads_t>("ggml_backend_set_n_threads"))
    set(backend_.get(), pool_->n_threads());
  const auto attach = cpu_function<void (*)(ggml_backend_t, ggml_threadpool*)>("ggml_backend_cpu_set_threadpool");
  if (attach != nullptr && pool_->get() != nullptr) attach(backend_.get(), pool_->get());
  if (const auto set = cpu_function<ggml_backend_set_abort_callback_t>("ggml_backend_set_abort_callback"))
    set(backend_.get(), call_abort, abort_.get());
}

void Backend::set_abort(std::function<bool()> abort) { *abort_ = std::move(abort); }

void Backend::compute(ggml_cgraph* graph) {
  ggml_status status = GGML_STATUS_SUCCESS;
  if (pool_) {
    const auto turn = pool_->lock();
    status = ggml_backend_graph_compute(backend_.get(), graph);
  } else {
    if (*abort_ && (*abort_)()) status = GGML_STATUS_ABORTED;
    if (status == GGML_STATUS_SUCCESS) status = ggml_backend_graph_compute(backend_.get(), graph);
  }
  if (status == GGML_STATUS_ABORTED)
    throw Error(ErrorCode::cancelled, device_, "the computation was stopped on request");
  if (status == GGML_STATUS_ALLOC_FAILED)
    throw Error(ErrorCode::resource, device_, "expected memory for a computation, found too little");
  if (status != GGML_STATUS_SUCCESS)
    throw Error(ErrorCode::device, device_,
                "expected the device to compute, its driver failed; see the log for its reason");
}

BufferHandle allocate(ggml_context* context, const Backend& backend, const std::string& what) {
  BufferHandle buffer(ggml_backend_alloc_ctx_tensors(context, backend.get()));
  if (!buffer)
    throw Error(ErrorCode::resource, backend.device(),
                fmt::format("expected memory for {}, found too little; close other runs or use a smaller model", what));
  return buffer;
}

}  // namespace morph::tensor
