// Layer normalisation over the innermost dimension (Ba, Kiros, Hinton 2016).
#pragma once

#include <ggml.h>

namespace morph::tensor {

/// `weight`, `bias` [d] (bias may be null), `x` [d, n, ...].
ggml_tensor* layer_norm(ggml_context* ctx, ggml_tensor* weight, ggml_tensor* bias, ggml_tensor* x,
                        float epsilon = 1e-5f);

}  // namespace morph::tensor
