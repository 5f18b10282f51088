// Owners of ggml's C handles: the one file that calls its *_free functions.
#pragma once

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>

#include <memory>

namespace morph::tensor {

struct FreeContext {
  void operator()(ggml_context* context) const { ggml_free(context); }
};
struct FreeBackend {
  void operator()(ggml_backend* backend) const { ggml_backend_free(backend); }
};
struct FreeBuffer {
  void operator()(ggml_backend_buffer* buffer) const { ggml_backend_buffer_free(buffer); }
};
struct FreeAllocator {
  void operator()(ggml_gallocr* allocator) const { ggml_gallocr_free(allocator); }
};

using ContextHandle = std::unique_ptr<ggml_context, FreeContext>;
using BackendHandle = std::unique_ptr<ggml_backend, FreeBackend>;
using BufferHandle = std::unique_ptr<ggml_backend_buffer, FreeBuffer>;
using AllocatorHandle = std::unique_ptr<ggml_gallocr, FreeAllocator>;

/// A context that holds `n` tensor descriptions and no data.
inline ContextHandle make_context(std::size_t n, std::size_t extra = 0) {
  return ContextHandle(ggml_init({ggml_tensor_overhead() * n + extra, nullptr, true}));
}

}  // namespace morph::tensor
