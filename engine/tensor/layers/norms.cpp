// See norms.h.
#include "tensor/layers/norms.h"

#include "tensor/layers/layer_norm.h"

namespace morph::tensor {

ggml_tensor* rms_norm(ggml_context* ctx, ggml_tensor* weight, ggml_tensor* x, float epsilon) {
  ggml_tensor* y = ggml_rms_norm(ctx, x, epsilon);
  return weight != nullptr ? ggml_mul(ctx, y, weight) : y;
}

ggml_tensor* group_norm(ggml_context* ctx, ggml_tensor* weight, ggml_tensor* bias, ggml_tensor* x, int n_groups,
                        float epsilon) {
  ggml_tensor* y = ggml_group_norm(ctx, x, n_groups, epsilon);
  const auto by_channel = [&](ggml_tensor* v) { return ggml_reshape_3d(ctx, v, 1, 1, v->ne[0]); };
  return ggml_add(ctx, ggml_mul(ctx, y, by_channel(weight)), by_channel(bias));
}

ggml_tensor* channel_norm(ggml_context* ctx, ggml_tensor* weight, ggml_tensor* bias, ggml_tensor* x, float epsilon) {
  ggml_tensor* inner = ggml_cont(ctx, ggml_transpose(ctx, x));  // [channels, n, ...]
  return ggml_cont(ctx, ggml_transpose(ctx, layer_norm(ctx, weight, bias, inner, epsilon)));
}

}  // namespace morph::tensor
