// Convolutions over time, pictures and volumes that keep F32: computed directly, with no rounding of activations
// (ggml's im2col forms round them to F16) and no copy of the whole input for each tap of the kernel. Time, width and
// height lie innermost.
#pragma once

#include <ggml.h>

namespace morph::tensor {

/// Along one axis; axes of a picture or volume share them but where said.
struct ConvSteps {
  int stride = 1, padding = 0, dilation = 1;
};

/// `kernel` [width, d_in, d_out] F32, or [width, 1, d] with `x` of d channels (depthwise); `bias` [d_out] or null;
/// `x` [n, d_in, batch] -> [n_out, d_out, batch].
ggml_tensor* conv_time(ggml_context* ctx, ggml_tensor* kernel, ggml_tensor* bias, ggml_tensor* x, ConvSteps steps = {});
/// The transpose of a convolution. `kernel` [width, d_out, d_in] F32; `x` [n, d_in] -> [(n - 1) * stride + width -
/// 2 * padding, d_out].
ggml_tensor* conv_time_transposed(ggml_context* ctx, ggml_tensor* kernel, ggml_tensor* bias, ggml_tensor* x, int stride,
                                  int padding);
/// `kernel` [width, height, d_in, d_out] F32; `x` [w, h, d_in, batch] -> [w_out, h_out, d_out, batch].
ggml_tensor* conv_2d(ggml_context* ctx, ggml_tensor* kernel, ggml_tensor* bias, ggml_tensor* x, ConvSteps steps = {});
/// `kernel` [width, height, depth, d_in * d_out] F32, as WeightSet keeps a kernel of three axes; `x` [w, h, depth,
/// d_in]
/// -> [w_out, h_out, depth_out, d_out]. `depth_steps`: along the third axis (time of a video).
ggml_tensor* conv_3d(ggml_context* ctx, ggml_tensor* kernel, ggml_tensor* bias, ggml_tensor* x, ConvSteps steps,
                     ConvSteps depth_steps);

}  // namespace morph::tensor
