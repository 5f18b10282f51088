// y = W x + b.
#pragma once

#include <ggml.h>

namespace morph::tensor {

/// `weight` [d_in, d_out], `bias` [d_out] or null, `x` [d_in, n, ...] -> [d_out, n, ...].
ggml_tensor* linear(ggml_context* ctx, ggml_tensor* weight, ggml_tensor* bias, ggml_tensor* x);

}  // namespace morph::tensor
