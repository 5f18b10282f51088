// Scaled dot-product attention (Vaswani et al. 2017): in the two forms that are fastest on a CPU, and in general.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <span>
#include <vector>

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

/// Attention in general: grouped heads, a mask, a batch. `q` [d_head, n_head, n_q, batch]; `k`, `v` [d_head, n_kv_head,
/// n_kv, batch] with n_head a multiple of n_kv_head (head h reads n_kv_head * h / n_head); `mask` F32 or F16 [n_kv,
/// n_q, 1 or n_head, 1 or batch], added to the scaled scores, or null -> [d_head * n_head, n_q, batch].
ggml_tensor* attend(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, ggml_tensor* mask, float scale);

/// Values of a mask [n_kv, n_q, 1, batch] that hides what lies past each sequence's length, and with `causal` what
/// comes after a query (queries are the last n_q positions). A query that would see nothing sees the first key.
std::vector<float> padding_mask(std::span<const std::int64_t> lengths, std::int64_t n_kv, std::int64_t n_q,
                                bool causal = false);

}  // namespace morph::tensor
