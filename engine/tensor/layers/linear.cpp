// Linear layer on ggml_mul_mat, which multiplies by the transpose of its first operand: weights lie as published.
#include "tensor/layers/linear.h"

namespace morph::tensor {

ggml_tensor* linear(ggml_context* ctx, ggml_tensor* weight, ggml_tensor* bias, ggml_tensor* x) {
  ggml_tensor* y = ggml_mul_mat(ctx, weight, x);  // [d_out, n, ...]
  return bias != nullptr ? ggml_add(ctx, y, bias) : y;
}

}  // namespace morph::tensor
