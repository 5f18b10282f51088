// Attention with learnt vectors for relative positions within a window (Shaw et al. 2018, arXiv 1803.02155), as VITS's
// text encoder has it.
#pragma once

#include <ggml.h>

namespace morph::tensor {

/// `q`, `k`, `v` [d_head, n_head, n]; `rel_k`, `rel_v` [d_head, 2 * window + 1] (offsets -window..window of key less
/// query, shared by the heads; a trailing 1 is allowed), or both null -> [d_head * n_head, n].
ggml_tensor* attend_relative(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, ggml_tensor* rel_k,
                             ggml_tensor* rel_v, float scale);

}  // namespace morph::tensor
