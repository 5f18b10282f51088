// The process-wide side of libllama: its modules loaded once, its log routed to ours, and a thread pool per session.
#pragma once

#include <ggml-backend.h>

#include <memory>
#include <string>

namespace morph::backbone {

/// Loads ggml's device modules and routes both libraries' logs to morph::log. Any number of calls, any thread.
void ensure_runtime();

/// The ggml device called `device` ("cpu", "cuda:0"). Throws Error{device} that lists what there is.
ggml_backend_dev_t find_device(const std::string& device);

/// Owns a ggml CPU thread pool, which the module that made it must free.
class ThreadPool {
 public:
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ggml_threadpool* get() const { return pool_; }  ///< null where the CPU module has none

 private:
  ggml_threadpool* pool_ = nullptr;
  void (*free_)(ggml_threadpool*) = nullptr;
};

}  // namespace morph::backbone
