// Scaled dot-product attention (Vaswani et al. 2017), in the two forms that are fastest on a CPU.
#pragma once

#include <ggml.h>

#include <cstdint>

namespace morph::tensor {

/// Many queries without a mask (an encoder): plain products and a softmax, a block of queries at a time so that scores
/// stay in cache; where the graph runs `on_cpu`, one fused node. `q`, `k`, `v` [d_head, n_head, n] each -> [d_head *
/// n_head, n_q].
ggml_tensor* attend_all(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, float scale,
                        bool on_cpu = false, std::int64_t query_block = 256);

/// Few queries over cached keys and values (a decoder). `q` [d_head, n_head, n_q]; `k`, `v` [d_head * n_head, n_kv] of
/// any stored type; `mask` F16 [n_kv, n_q] or null -> [d_head * n_head, n_q].
ggml_tensor* attend_cached(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, ggml_tensor* mask,
                           float scale);

}  // namespace morph::tensor
