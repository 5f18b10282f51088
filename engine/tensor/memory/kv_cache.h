// KvCache: keys and values of a decoder's past, one pair of tables per layer.
#pragma once

#include <ggml.h>

#include <vector>

#include "tensor/backend.h"

namespace morph::tensor {

/// Tables [d, n_ctx] in `type`, zeroed. Owns its memory; one thread at a time.
class KvCache {
 public:
  KvCache(const Backend& backend, int n_layer, std::int64_t d, std::int64_t n_ctx, ggml_type type);

  std::int64_t n_ctx() const { return n_ctx_; }
  std::size_t bytes() const { return ggml_backend_buffer_get_size(buffer_.get()); }
  ggml_tensor* keys(int layer) const { return keys_.at(static_cast<std::size_t>(layer)); }
  ggml_tensor* values(int layer) const { return values_.at(static_cast<std::size_t>(layer)); }
  /// The first n_kv rows of a table, [d, n_kv].
  static ggml_tensor* head(ggml_context* ctx, ggml_tensor* table, std::int64_t n_kv);
  /// Writes `rows` [d, n] F32 at the rows that `index` I64 [n] names; the result must be added to the graph.
  static ggml_tensor* store(ggml_context* ctx, ggml_tensor* table, ggml_tensor* rows, ggml_tensor* index);

 private:
  std::int64_t n_ctx_;
  ContextHandle context_;
  BufferHandle buffer_;
  std::vector<ggml_tensor*> keys_, values_;
};

}  // namespace morph::tensor
