// Scores by offset become scores by key, and probabilities by key become ones by offset, by reading a padded matrix
// with another row length: row q then begins q places earlier or later.
#include "tensor/layers/relative_attention.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace morph::tensor {

ggml_tensor* attend_relative(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, ggml_tensor* rel_k,
                             ggml_tensor* rel_v, float scale) {
  const std::int64_t d_head = q->ne[0], n_head = q->ne[1], n = q->ne[2];
  ggml_tensor* queries =
      ggml_cont(ctx, ggml_permute(ctx, ggml_scale(ctx, q, scale), 0, 2, 1, 3));  // [d_head, n, n_head]
  ggml_tensor* keys = ggml_cont(ctx, ggml_permute(ctx, k, 0, 2, 1, 3));
  ggml_tensor* values = ggml_cont(ctx, ggml_permute(ctx, v, 1, 2, 0, 3));  // [n, d_head, n_head]
  ggml_tensor* scores = ggml_mul_mat(ctx, keys, queries);                  // [n_key, n, n_head]
  const std::int64_t n_rel = rel_k == nullptr ? 0 : rel_k->ne[1], window = n_rel / 2;
  if (rel_k != nullptr) {
    ggml_tensor* by_offset =
        ggml_mul_mat(ctx, ggml_reshape_2d(ctx, rel_k, d_head, n_rel), queries);  // [n_rel, n, n_head]
    // Offset o of query i is key i + o - window. Zeros beyond the window make every other key read a zero.
    const std::int64_t width = std::max(n_rel, n + window);
    ggml_tensor* padded = ggml_pad(ctx, by_offset, static_cast<int>(width - n_rel), 1, 0, 0);  // [width, n + 1, n_head]
    ggml_tensor* by_key = ggml_view_3d(ctx, padded, n, n, n_head, static_cast<std::size_t>(width - 1) * padded->nb[0],
                                       padded->nb[2], static_cast<std::size_t>(window) * padded->nb[0]);
    scores = ggml_add(ctx, scores, ggml_cont(ctx, by_key));
  }
  ggml_tensor* shares = ggml_soft_max(ctx, scores);        // [n_key, n, n_head]
  ggml_tensor* mixed = ggml_mul_mat(ctx, values, shares);  // [d_head, n, n_head]
  if (rel_v != nullptr) {
    const auto pad = static_cast<int>(window);
    ggml_tensor* padded = ggml_pad_ext(ctx, shares, pad, pad, 0, 1, 0, 0, 0, 0);  // [n + 2 * window, n + 1, n_head]
    ggml_tensor* by_offset = ggml_view_3d(
        ctx, padded, n_rel, n, n_head, static_cast<std::size_t>(padded->ne[0] + 1) * padded->nb[0], padded->nb[2], 0);
    ggml_tensor* vectors = ggml_cont(ctx, ggml_transpose(ctx, ggml_reshape_2d(ctx, rel_v, d_head, n_rel)));
    mixed = ggml_add(ctx, mixed, ggml_mul_mat(ctx, vectors, ggml_cont(ctx, by_offset)));
  }
  return ggml_cont_2d(ctx, ggml_permute(ctx, mixed, 0, 2, 1, 3), d_head * n_head, n);
}

}  // namespace morph::tensor
