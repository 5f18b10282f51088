// Normalisations beside layer_norm.h: RMS (Zhang and Sennrich 2019) and group normalisation (Wu and He 2018).
#pragma once

#include <ggml.h>

namespace morph::tensor {

/// `weight` [d] or null, `x` [d, ...]: x / sqrt(mean(x^2) + epsilon) * weight.
ggml_tensor* rms_norm(ggml_context* ctx, ggml_tensor* weight, ggml_tensor* x, float epsilon);

/// `weight`, `bias` [channels], `x` [w, h, channels, batch]: each of n_groups groups of channels has mean 0,
/// variance 1.
ggml_tensor* group_norm(ggml_context* ctx, ggml_tensor* weight, ggml_tensor* bias, ggml_tensor* x, int n_groups,
                        float epsilon);

/// Layer normalisation over the channels of `x` [n, channels, ...], which lie second (as convolutions leave them).
ggml_tensor* channel_norm(ggml_context* ctx, ggml_tensor* weight, ggml_tensor* bias, ggml_tensor* x, float epsilon);

}  // namespace morph::tensor
