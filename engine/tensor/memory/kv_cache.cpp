// Cache tables and the views and writes of them.
#include "tensor/memory/kv_cache.h"

namespace morph::tensor {

KvCache::KvCache(const Backend& backend, int n_layer, std::int64_t d, std::int64_t n_ctx, ggml_type type)
    : n_ctx_(n_ctx), context_(make_context(2 * static_cast<std::size_t>(n_layer) + 1)) {
  for (int i = 0; i < n_layer; ++i) {
    keys_.push_back(ggml_new_tensor_2d(context_.get(), type, d, n_ctx));
    values_.push_back(ggml_new_tensor_2d(context_.get(), type, d, n_ctx));
  }
  buffer_ = allocate(context_.get(), backend, "keys and values");
  ggml_backend_buffer_clear(buffer_.get(), 0);
}

ggml_tensor* KvCache::head(ggml_context* ctx, ggml_tensor* table, std::int64_t n_kv) {
  return ggml_view_2d(ctx, table, table->ne[0], n_kv, table->nb[1], 0);
}

ggml_tensor* KvCache::store(ggml_context* ctx, ggml_tensor* table, ggml_tensor* rows, ggml_tensor* index) {
  return ggml_set_rows(ctx, table, rows, index);
}

}  // namespace morph::tensor
