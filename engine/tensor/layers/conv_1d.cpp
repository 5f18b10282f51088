// Convolution as im2col in F32 and one product.
#include "tensor/layers/conv_1d.h"

namespace morph::tensor {

ggml_tensor* conv_1d(ggml_context* ctx, ggml_tensor* kernel, ggml_tensor* bias, ggml_tensor* x, int stride,
                     int padding) {
  ggml_tensor* columns =
      ggml_im2col(ctx, kernel, x, stride, 0, padding, 0, 1, 0, false, GGML_TYPE_F32);  // [width * d_in, n_out]
  ggml_tensor* flat = ggml_reshape_2d(ctx, kernel, kernel->ne[0] * kernel->ne[1], kernel->ne[2]);
  ggml_tensor* y = ggml_mul_mat(ctx, flat, columns);  // [d_out, n_out]
  return bias != nullptr ? ggml_add(ctx, y, bias) : y;
}

}  // namespace morph::tensor
