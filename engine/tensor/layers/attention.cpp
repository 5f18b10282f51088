// See attention.h. Products run over contiguous operands: ggml's fast F32 kernel takes no others.
#include "tensor/layers/attention.h"

#include <algorithm>
#include <cmath>

#include "tensor/layers/attention_on_cpu.h"

namespace morph::tensor {

ggml_tensor* attend_all(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, float scale, bool on_cpu,
                        std::int64_t query_block) {
  if (on_cpu && can_attend_on_cpu(q, k, v))
    return ggml_reshape_2d(ctx, attend_on_cpu(ctx, q, k, v, scale), q->ne[0] * q->ne[1], q->ne[2]);
  const std::int64_t d_head = q->ne[0], n_head = q->ne[1], n_q = q->ne[2];
  ggml_tensor* keys = ggml_permute(ctx, k, 0, 2, 1, 3);                    // [d_head, n_kv, n_head]
  ggml_tensor* values = ggml_cont(ctx, ggml_permute(ctx, v, 1, 2, 0, 3));  // [n_kv, d_head, n_head]
  ggml_tensor* result = nullptr;
  for (std::int64_t first = 0; first < n_q; first += query_block) {
    const std::int64_t n = std::min(query_block, n_q - first);
    ggml_tensor* part =
        ggml_view_3d(ctx, q, d_head, n_head, n, q->nb[1], q->nb[2], static_cast<std::size_t>(first) * q->nb[2]);
    part = ggml_cont(ctx, ggml_permute(ctx, part, 0, 2, 1, 3));  // [d_head, n, n_head]
    ggml_tensor* scores = ggml_mul_mat(ctx, keys, part);         // [n_kv, n, n_head]
    scores = ggml_soft_max_ext(ctx, scores, nullptr, scale, 0.0f);
    ggml_tensor* mixed = ggml_mul_mat(ctx, values, scores);  // [d_head, n, n_head]
    mixed = ggml_cont_2d(ctx, ggml_permute(ctx, mixed, 0, 2, 1, 3), d_head * n_head, n);
    result = result == nullptr ? mixed : ggml_concat(ctx, result, mixed, 1);
  }
  return result;
}

ggml_tensor* attend_cached(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, ggml_tensor* mask,
                           float scale) {
  const std::int64_t d_head = q->ne[0], n_head = q->ne[1], n_q = q->ne[2], n_kv = k->ne[1];
  const auto heads = [&](ggml_tensor* cached) {  // [d_head, n_kv, n_head]
    return ggml_view_3d(ctx, cached, d_head, n_kv, n_head, cached->nb[1], ggml_row_size(cached->type, d_head), 0);
  };
  ggml_tensor* queries = ggml_permute(ctx, q, 0, 2, 1, 3);  // [d_head, n_q, n_head]
  ggml_tensor* mixed = ggml_flash_attn_ext(ctx, queries, heads(k), heads(v), mask, scale, 0.0f, 0.0f);
  ggml_prec_set_acc(mixed, GGML_PREC_F32);
  return ggml_reshape_2d(ctx, mixed, d_head * n_head, n_q);
}

ggml_tensor* attend(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, ggml_tensor* mask, float scale) {
  const std::int64_t d_head = q->ne[0], n_head = q->ne[1], n_q = q->ne[2], batch = q->ne[3];
  ggml_tensor* queries = ggml_cont(ctx, ggml_permute(ctx, q, 0, 2, 1, 3));  // [d_head, n_q, n_head, batch]
  ggml_tensor* keys = ggml_cont(ctx, ggml_permute(ctx, k, 0, 2, 1, 3));     // [d_head, n_kv, n_kv_head, batch]
  ggml_tensor* values = ggml_cont(ctx, ggml_permute(ctx, v, 1, 2, 0, 3));   // [n_kv, d_head, n_kv_head, batch]
  ggml_tensor* scores = ggml_mul_mat(ctx, keys, queries);                   // [n_kv, n_q, n_head, batch]
  ggml_prec_set_acc(scores, GGML_PREC_F32);
  scores = ggml_soft_max_ext(ctx, scores, mask, scale, 0.0f);
  ggml_tensor* mixed = ggml_mul_mat(ctx, values, scores);  // [d_head, n_q, n_head, batch]
  return ggml_cont_3d(ctx, ggml_permute(ctx, mixed, 0, 2, 1, 3), d_head * n_head, n_q, batch);
}

std::vector<float> padding_mask(std::span<const std::int64_t> lengths, std::int64_t n_kv, std::int64_t n_q,
                                bool causal) {
  std::vector<float> mask(lengths.size() * static_cast<std::size_t>(n_q * n_kv), -INFINITY);
  auto at = mask.begin();
  for (const std::int64_t length : lengths)
    for (std::int64_t q = 0; q < n_q; ++q, at += n_kv) {
      std::int64_t seen = std::min(length, n_kv);
      if (causal) seen = std::min(seen, n_kv - n_q + q + 1);
      std::fill_n(at, std::max<std::int64_t>(1, seen), 0.0f);
    }
  return mask;
}

}  // namespace morph::tensor
