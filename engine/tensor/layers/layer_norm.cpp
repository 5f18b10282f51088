// Layer normalisation: ggml_norm and an affine map.
#include "tensor/layers/layer_norm.h"

namespace morph::tensor {

ggml_tensor* layer_norm(ggml_context* ctx, ggml_tensor* weight, ggml_tensor* bias, ggml_tensor* x, float epsilon) {
  ggml_tensor* y = ggml_mul(ctx, ggml_norm(ctx, x, epsilon), weight);
  return bias != nullptr ? ggml_add(ctx, y, bias) : y;
}

}  // namespace morph::tensor
