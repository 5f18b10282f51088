// One-dimensional convolution that keeps F32: ggml_conv_1d rounds its activations to F16, this does not.
#pragma once

#include <ggml.h>

namespace morph::tensor {

/// `kernel` [width, d_in, d_out] F32, `bias` [d_out] or null, `x` [n, d_in] -> [d_out, n_out]: channels come out
/// innermost, ready for linear layers.
ggml_tensor* conv_1d(ggml_context* ctx, ggml_tensor* kernel, ggml_tensor* bias, ggml_tensor* x, int stride,
                     int padding);

}  // namespace morph::tensor
