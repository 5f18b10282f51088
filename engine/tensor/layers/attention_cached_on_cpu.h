// Attention of few F32 queries over many cached F16 keys and values, for CPU graphs: a decoder's. One pass over the
// keys, a vectorised softmax, one pass over the values. Measured against ggml's flash attention with 1500 keys of 64:
// as fast for one query, 1.8 times as fast for eight.
#pragma once

#include <ggml.h>

namespace morph::tensor {

/// `q` [d_head, n_q, n_head, n_batch] F32, `k`, `v` [d_head, n_kv, n_head, n_batch] F16 (any strides between rows),
/// `mask` F16 [n_kv, n_q, 1, n_batch] of 0 and -infinity, or null -> [d_head, n_head, n_q, n_batch]. d_head a multiple
/// of 16 up to 128. CPU only.
ggml_tensor* attend_cached_on_cpu(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, ggml_tensor* mask,
                                  float scale);

/// Whether attend_cached_on_cpu takes these and is the faster way: it is for few queries.
bool can_attend_cached_on_cpu(const ggml_tensor* q, const ggml_tensor* k, const ggml_tensor* v);

}  // namespace morph::tensor
