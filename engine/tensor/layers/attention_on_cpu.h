// Attention of many F32 queries in one pass, for CPU graphs: scores live in a few kilobytes instead of a tensor, and
// both products run from registers. Measured on a whisper encoder: 3 times faster than products and softmax as separate
// nodes.
#pragma once

#include <ggml.h>

namespace morph::tensor {

/// `q`, `k`, `v` [d_head, n_head, n] F32, d_head a multiple of 16 up to 128; no mask -> [d_head, n_head, n_q]. CPU
/// only.
ggml_tensor* attend_on_cpu(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, float scale);

/// Whether attend_on_cpu takes these.
bool can_attend_on_cpu(const ggml_tensor* q, const ggml_tensor* k, const ggml_tensor* v);

}  // namespace morph::tensor
