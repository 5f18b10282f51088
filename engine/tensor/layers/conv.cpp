// See conv.h.
#include "tensor/layers/conv.h"

#include <cstddef>
#include <cstdint>

namespace morph::tensor {
namespace {

/// Adds `bias` [d] along dimension `axis` of `x`.
ggml_tensor* add_bias(ggml_context* ctx, ggml_tensor* x, ggml_tensor* bias, int axis) {
  if (bias == nullptr) return x;
  std::int64_t ne[4] = {1, 1, 1, 1};
  ne[axis] = ggml_nelements(bias);
  return ggml_add(ctx, x, ggml_reshape_4d(ctx, bias, ne[0], ne[1], ne[2], ne[3]));
}

}  // namespace

ggml_tensor* conv_time(ggml_context* ctx, ggml_tensor* kernel, ggml_tensor* bias, ggml_tensor* x, ConvSteps steps) {
  const std::int64_t width = kernel->ne[0], d_in = kernel->ne[1], d_out = kernel->ne[2];
  ggml_tensor* row = ggml_reshape_4d(ctx, x, x->ne[0], 1, x->ne[1], x->ne[2]);  // [n, 1, d_in, batch]
  ggml_tensor* y = nullptr;
  if (d_in == 1 && x->ne[1] > 1)
    y = ggml_conv_2d_dw_direct(ctx, ggml_reshape_4d(ctx, kernel, width, 1, 1, d_out), row, steps.stride, 1,
                               steps.padding, 0, steps.dilation, 1);
  else
    y = ggml_conv_2d_direct(ctx, ggml_reshape_4d(ctx, kernel, width, 1, d_in, d_out), row, steps.stride, 1,
                            steps.padding, 0, steps.dilation, 1);
  return add_bias(ctx, ggml_reshape_3d(ctx, y, y->ne[0], y->ne[2], y->ne[3]), bias, 1);
}

ggml_tensor* conv_time_transposed(ggml_context* ctx, ggml_tensor* kernel, ggml_tensor* bias, ggml_tensor* x, int stride,
                                  int padding) {
  ggml_tensor* y = ggml_conv_transpose_1d(ctx, kernel, x, stride, 0, 1);  // [(n - 1) * stride + width, d_out]
  if (padding > 0)
    y = ggml_cont(ctx, ggml_view_2d(ctx, y, y->ne[0] - 2 * padding, y->ne[1], y->nb[1],
                                    static_cast<std::size_t>(padding) * y->nb[0]));
  return add_bias(ctx, y, bias, 1);
}

ggml_tensor* conv_2d(ggml_context* ctx, ggml_tensor* kernel, ggml_tensor* bias, ggml_tensor* x, ConvSteps steps) {
  ggml_tensor* y = ggml_conv_2d_direct(ctx, kernel, x, steps.stride, steps.stride, steps.padding, steps.padding,
                                       steps.dilation, steps.dilation);
  return add_bias(ctx, y, bias, 2);
}

ggml_tensor* conv_3d(ggml_context* ctx, ggml_tensor* kernel, ggml_tensor* bias, ggml_tensor* x, ConvSteps steps,
                     ConvSteps depth_steps) {
  const auto d_in = static_cast<int>(x->ne[3]), d_out = static_cast<int>(kernel->ne[3] / x->ne[3]);
  ggml_tensor* y =
      ggml_conv_3d_direct(ctx, kernel, x, steps.stride, steps.stride, depth_steps.stride, steps.padding, steps.padding,
                          depth_steps.padding, steps.dilation, steps.dilation, depth_steps.dilation, d_in, 1, d_out);
  return add_bias(ctx, y, bias, 3);
}

}  // namespace morph::tensor
