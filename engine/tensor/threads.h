// The CPU threads of tensor libraries: one pool per size in the process, shared by all users of ggml (libllama too), so
// that heavy steps that follow each other reuse the same threads.
#pragma once

#include <memory>
#include <mutex>

struct ggml_threadpool;

namespace morph::tensor {

/// Owns a ggml pool. Thread-safe, but ggml lets one graph at a time run on it: hold lock() around a computation.
class ThreadPool {
 public:
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  ggml_threadpool* get() const { return pool_; }  ///< null where the CPU module has none
  int n_threads() const { return n_threads_; }
  std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }

 private:
  int n_threads_ = 1;
  ggml_threadpool* pool_ = nullptr;
  std::mutex mutex_;
};

/// The process's pool of this size; made when first asked for, kept while someone holds it.
std::shared_ptr<ThreadPool> shared_threadpool(int n_threads);

}  // namespace morph::tensor
