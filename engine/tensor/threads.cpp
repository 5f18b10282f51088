// The CPU module is loaded at run time, so the pool's functions are asked for by name.
#include "tensor/threads.h"

#include <fmt/format.h>
#include <ggml-cpu.h>

#include <algorithm>
#include <cstdint>
#include <map>

#include "base/machine_memory.h"
#include "morph/error.h"
#include "tensor/backend.h"

namespace morph::tensor {

ThreadPool::ThreadPool(int n_threads) : n_threads_(std::max(1, n_threads)) {
  const auto make = cpu_function<ggml_threadpool* (*)(ggml_threadpool_params*)>("ggml_threadpool_new");
  if (make == nullptr || cpu_function<void (*)(ggml_threadpool*)>("ggml_threadpool_free") == nullptr) return;
  // ggml ends the process when a thread is refused.
  constexpr std::uint64_t kStack = 8u << 20, kReserve = 16u << 20;
  if (address_space_left() < static_cast<std::uint64_t>(n_threads_) * kStack + kReserve)
    throw Error(ErrorCode::resource, "threads",
                fmt::format("expected address space for {} threads, found {} MiB; raise the limit (ulimit -v)",
                            n_threads_, address_space_left() >> 20));
  ggml_threadpool_params params = ggml_threadpool_params_default(n_threads_);
  pool_ = make(&params);
}

ThreadPool::~ThreadPool() {
  if (pool_ != nullptr) cpu_function<void (*)(ggml_threadpool*)>("ggml_threadpool_free")(pool_);
}

std::shared_ptr<ThreadPool> shared_threadpool(int n_threads) {
  // Per process like the threads themselves; weak, so that nothing outlives its users.
  static std::mutex mutex;
  static std::map<int, std::weak_ptr<ThreadPool>> pools;
  const std::lock_guard guard(mutex);
  std::weak_ptr<ThreadPool>& slot = pools[std::max(1, n_threads)];
  std::shared_ptr<ThreadPool> pool = slot.lock();
  if (!pool) slot = pool = std::make_shared<ThreadPool>(n_threads);
  return pool;
}

}  // namespace morph::tensor
