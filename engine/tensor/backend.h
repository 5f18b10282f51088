// Devices of ggml: its backend modules are loaded once per process; a Backend is a device opened for computing.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tensor/handles.h"
#include "tensor/threads.h"

namespace morph {
class Registry;
}

namespace morph::tensor {

/// Loads ggml's modules and routes its log to morph::log. Any number of calls, any thread. Throws Error{device} when
/// there is no CPU module.
void load_modules();

/// Adds a provider of ggml's devices ("cpu", "cuda:0", "vulkan:0") to the registry.
void register_ggml_devices(Registry& registry);

/// The device called `id`. Throws Error{device} that lists what there is.
ggml_backend_dev_t find_device(const std::string& id);

/// A function of the CPU module by name, null when it has none.
void* cpu_symbol(const char* name);
template <class Function>
Function cpu_function(const char* name) {
  return reinterpret_cast<Function>(cpu_symbol(name));
}

/// One user's handle of a device. Not thread-safe; several may compute at once (the CPU's take turns on their pool).
class Backend {
 public:
  /// Throws Error{device}. `n_threads` matters on the CPU.
  Backend(const std::string& device, int n_threads);

  ggml_backend_t get() const { return backend_.get(); }
  const std::string& device() const { return device_; }
  bool is_cpu() const { return pool_ != nullptr; }
  ggml_backend_buffer_type_t buffer_type() const { return ggml_backend_get_default_buffer_type(backend_.get()); }

  /// Asked between the nodes of a graph, from several threads; true ends the computation. May be empty.
  void set_abort(std::function<bool()> abort);
  /// Runs the graph to its end. Throws Error{cancelled} when the abort function said so, Error{device} for failures,
  /// Error{resource} when memory ran out.
  void compute(ggml_cgraph* graph);

 private:
  std::string device_;
  std::shared_ptr<ThreadPool> pool_;
  std::unique_ptr<std::function<bool()>> abort_;  // at a fixed address for the callback
  BackendHandle backend_;
};

/// Memory for tensors that were made in a no-data context. Throws Error{resource}.
BufferHandle allocate(ggml_context* context, const Backend& backend, const std::string& what);

}  // namespace morph::tensor
