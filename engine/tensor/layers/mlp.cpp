// See mlp.h.
#include "tensor/layers/mlp.h"

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tensor/layers/linear.h"

namespace morph::tensor {

ggml_tensor* mlp(ggml_context* ctx, Activation activation, LinearWeights up, LinearWeights down, ggml_tensor* x,
                 bool on_cpu) {
  return linear(ctx, down.weight, down.bias, activate(ctx, activation, linear(ctx, up.weight, up.bias, x), on_cpu));
}

ggml_tensor* gated_mlp(ggml_context* ctx, Activation activation, LinearWeights gate, LinearWeights up,
                       LinearWeights down, ggml_tensor* x) {
  ggml_tensor* opened = activate(ctx, activation, linear(ctx, gate.weight, gate.bias, x));  // [d_ff, n, ...]
  return linear(ctx, down.weight, down.bias, ggml_mul(ctx, opened, linear(ctx, up.weight, up.bias, x)));
}

MoeChoice moe_route(ggml_context* ctx, ggml_tensor* logits, const MoeRouting& routing) {
  const std::int64_t n_expert = logits->ne[0], n_tokens = logits->ne[1], n_used = routing.n_used;
  ggml_tensor* scores =
      routing.sigmoid ? ggml_sigmoid(ctx, logits) : ggml_soft_max(ctx, logits);  // [n_expert, n_tokens]
  ggml_tensor* ranked = routing.bias != nullptr ? ggml_add(ctx, scores, routing.bias) : scores;
  if (routing.n_groups > 1) {
    const std::int64_t n_groups = routing.n_groups, in_group = n_expert / n_groups;
    ggml_tensor* grouped = ggml_reshape_3d(ctx, ranked, in_group, n_groups, n_tokens);
    ggml_tensor* best = ggml_argsort_top_k(ctx, grouped, 2);  // [2, n_groups, n_tokens]
    ggml_tensor* rows = ggml_reshape_4d(ctx, grouped, 1, in_group, n_groups, n_tokens);
    ggml_tensor* pair = ggml_get_rows(ctx, rows, best);  // [1, 2, n_groups, n_tokens]
    ggml_tensor* group_scores =
        ggml_sum_rows(ctx, ggml_reshape_3d(ctx, pair, 2, n_groups, n_tokens));  // [1, n_groups, n_tokens]
    group_scores = ggml_reshape_2d(ctx, group_scores, n_groups, n_tokens);
    ggml_tensor* kept = ggml_argsort_top_k(ctx, group_scores, routing.n_groups_used);  // [n_groups_used, n_tokens]
    // Everything starts at minus infinity; the groups that are kept are written back.
    ggml_tensor* none = ggml_fill(ctx, grouped, -INFINITY);
    ggml_tensor* chosen = ggml_get_rows(ctx, grouped, kept);  // [in_group, n_groups_used, n_tokens]
    ranked = ggml_reshape_2d(ctx, ggml_set_rows(ctx, none, chosen, kept), n_expert, n_tokens);
  }
  MoeChoice choice;
  choice.experts = ggml_argsort_top_k(ctx, ranked, static_cast<int>(n_used));  // [n_used, n_tokens]
  ggml_tensor* weights = ggml_get_rows(ctx, ggml_reshape_3d(ctx, scores, 1, n_expert, n_tokens), choice.experts);
  if (routing.normalise) {
    weights = ggml_reshape_2d(ctx, weights, n_used, n_tokens);
    weights = ggml_div(ctx, weights, ggml_sum_rows(ctx, weights));
    weights = ggml_reshape_3d(ctx, weights, 1, n_used, n_tokens);
  }
  if (routing.scale != 1.0f) weights = ggml_scale(ctx, weights, routing.scale);
  choice.weights = weights;
  return choice;
}

ggml_tensor* moe_mlp(ggml_context* ctx, Activation activation, ggml_tensor* gate, ggml_tensor* up, ggml_tensor* down,
                     const MoeChoice& choice, ggml_tensor* x) {
  const std::int64_t d = x->ne[0], n_tokens = x->ne[1], n_used = choice.experts->ne[0];
  ggml_tensor* each = ggml_reshape_3d(ctx, x, d, 1, n_tokens);
  ggml_tensor* opened = activate(ctx, activation, ggml_mul_mat_id(ctx, gate, each, choice.experts));
  ggml_tensor* hidden = ggml_mul(ctx, opened, ggml_mul_mat_id(ctx, up, each, choice.experts));  // [d_ff, n_used, n]
  ggml_tensor* out = ggml_mul_mat_id(ctx, down, hidden, choice.experts);                        // [d, n_used, n]
  out = ggml_mul(ctx, out, choice.weights);
  ggml_tensor* sum = nullptr;
  for (std::int64_t i = 0; i < n_used; ++i) {
    ggml_tensor* one = ggml_view_2d(ctx, out, d, n_tokens, out->nb[2], static_cast<std::size_t>(i) * out->nb[1]);
    sum = sum == nullptr ? one : ggml_add(ctx, sum, one);
  }
  return n_used == 1 ? ggml_cont(ctx, sum) : sum;
}

}  // namespace morph::tensor
