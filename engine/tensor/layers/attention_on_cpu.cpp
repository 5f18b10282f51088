// Register-tiled attention. A unit of work is one head and kUnit queries. Keys are first turned to [n_kv, d_head] (a
// node of the graph), so that a query's value meets 32 keys at a time; values lie as they are, so that a probability
// meets 16 dimensions at a time. Vectors are GCC's, which every instruction set compiles to what it has.
#include "tensor/layers/attention_on_cpu.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "tensor/layers/cpu_variants.h"
#include "tensor/layers/exponential.h"

namespace morph::tensor {
namespace {

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int kLanes = 16, kRows = 6;
constexpr std::int64_t kUnit = 48;  // queries of one unit: a multiple of kRows

struct Shape {
  std::int64_t d_head, n_kv, n_padded;  // n_padded: n_kv rounded up to 2 * kLanes
};

/// scores[r][key] = q[r] . k[key] for kRows queries. keys [n_padded, d_head].
MORPH_CPU_VARIANTS void score(const Shape& shape, const float* const* q, const float* keys, float* scores) {
  for (std::int64_t key = 0; key < shape.n_padded; key += 2 * kLanes) {
    Lanes sum[kRows][2] = {};
    const float* at = keys + key;
    for (std::int64_t d = 0; d < shape.d_head; ++d, at += shape.n_padded) {
      const Lanes a = *reinterpret_cast<const Lanes*>(at), b = *reinterpret_cast<const Lanes*>(at + kLanes);
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        sum[r][0] += a * q[r][d];
        sum[r][1] += b * q[r][d];
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      float* to = scores + r * shape.n_padded + key;
      *reinterpret_cast<Lanes*>(to) = sum[r][0];
      *reinterpret_cast<Lanes*>(to + kLanes) = sum[r][1];
    }
  }
}

/// Scores of one query to e^(score - largest), in place; returns their sum. The padding becomes 0.
MORPH_CPU_VARIANTS float exponentials(const Shape& shape, float* scores) {
  float top = scores[0];
  for (std::int64_t i = 0; i < shape.n_kv; ++i) top = scores[i] > top ? scores[i] : top;
  for (std::int64_t i = 0; i < shape.n_padded; ++i) {
    const float below = scores[i] - top;
    const float y = below > -80.0f ? (below < 0.0f ? below : 0.0f) : -80.0f;
    scores[i] = exponential(y);
  }
  for (std::int64_t i = shape.n_kv; i < shape.n_padded; ++i) scores[i] = 0.0f;
  Lanes sum = {};
  for (std::int64_t i = 0; i < shape.n_padded; i += kLanes) sum += *reinterpret_cast<const Lanes*>(scores + i);
  float total = 0.0f;
  for (int i = 0; i < kLanes; ++i) total += sum[i];
  return total;
}

/// out[r][d..d+32] = sum over keys of p[r][key] * v[key][d..d+32] for kRows queries (16 when `width` is 1).
template <int width>
inline __attribute__((always_inline)) void mix_part(const Shape& shape, const float* p, const float* v,
                                                    std::int64_t v_stride, const float* factor, float* const* out) {
  Lanes sum[kRows][width] = {};
  for (std::int64_t key = 0; key < shape.n_kv; ++key) {
    const float* row = v + key * v_stride;
    Lanes lanes[width];
    for (int w = 0; w < width; ++w) lanes[w] = *reinterpret_cast<const Lanes*>(row + w * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r)
      for (int w = 0; w < width; ++w) sum[r][w] += lanes[w] * p[r * shape.n_padded + key];
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
    for (int w = 0; w < width; ++w) *reinterpret_cast<Lanes*>(out[r] + w * kLanes) = sum[r][w] * factor[r];
}

MORPH_CPU_VARIANTS void mix_two(const Shape& shape, const float* p, const float* v, std::int64_t v_stride,
                                const float* factor, float* const* out) {
  mix_part<2>(shape, p, v, v_stride, factor, out);
}

MORPH_CPU_VARIANTS void mix_one(const Shape& shape, const float* p, const float* v, std::int64_t v_stride,
                                const float* factor, float* const* out) {
  mix_part<1>(shape, p, v, v_stride, factor, out);
}

const float* vector_at(const ggml_tensor* tensor, std::int64_t head, std::int64_t i) {
  return reinterpret_cast<const float*>(static_cast<const char*>(tensor->data) +
                                        static_cast<std::size_t>(head) * tensor->nb[1] +
                                        static_cast<std::size_t>(i) * tensor->nb[2]);
}

/// Sources: q, keys [n_padded, d_head, n_head], v. The result is [d_head, n_head, n_q], contiguous.
void run(ggml_tensor* to, int ith, int nth, void* /*user*/) {
  const ggml_tensor *q = to->src[0], *keys = to->src[1], *v = to->src[2];
  const Shape shape{q->ne[0], v->ne[2], keys->ne[0]};
  const std::int64_t n_head = q->ne[1], n_q = q->ne[2], units = (n_q + kUnit - 1) / kUnit;
  const std::int64_t v_stride = static_cast<std::int64_t>(v->nb[2] / sizeof(float));
  std::vector<float> scores(static_cast<std::size_t>(kRows * shape.n_padded));
  for (std::int64_t unit = units * n_head * ith / nth; unit < units * n_head * (ith + 1) / nth; ++unit) {
    const std::int64_t head = unit / units, first = (unit % units) * kUnit, last = std::min(n_q, first + kUnit);
    const float* head_keys = reinterpret_cast<const float*>(static_cast<const char*>(keys->data) +
                                                            static_cast<std::size_t>(head) * keys->nb[2]);
    for (std::int64_t i = first; i < last; i += kRows) {
      const float* queries[kRows];
      float* out[kRows];
      float factors[kRows];
      float unused[kLanes * 2];
      for (int r = 0; r < kRows; ++r) queries[r] = vector_at(q, head, std::min(i + r, last - 1));
      score(shape, queries, head_keys, scores.data());
      for (int r = 0; r < kRows; ++r) factors[r] = 1.0f / exponentials(shape, scores.data() + r * shape.n_padded);
      for (std::int64_t d = 0; d < shape.d_head; d += 2 * kLanes) {
        for (int r = 0; r < kRows; ++r)
          out[r] = i + r < last ? const_cast<float*>(vector_at(to, head, i + r)) + d : unused;
        const float* values = vector_at(v, head, 0) + d;
        if (d + 2 * kLanes <= shape.d_head)
          mix_two(shape, scores.data(), values, v_stride, factors, out);
        else
          mix_one(shape, scores.data(), values, v_stride, factors, out);
      }
    }
  }
}

}  // namespace

bool can_attend_on_cpu(const ggml_tensor* q, const ggml_tensor* k, const ggml_tensor* v) {
  return q->type == GGML_TYPE_F32 && k->type == GGML_TYPE_F32 && v->type == GGML_TYPE_F32 && q->ne[0] % kLanes == 0 &&
         q->ne[0] <= 128 && q->ne[3] == 1 && v->ne[0] == q->ne[0] && v->ne[1] == q->ne[1];
}

ggml_tensor* attend_on_cpu(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, float scale) {
  ggml_tensor* keys = ggml_cont(ctx, ggml_permute(ctx, k, 1, 2, 0, 3));  // [n_kv, d_head, n_head]
  const std::int64_t padding = (2 * kLanes - keys->ne[0] % (2 * kLanes)) % (2 * kLanes);
  if (padding > 0) keys = ggml_pad(ctx, keys, static_cast<int>(padding), 0, 0, 0);
  ggml_tensor* sources[] = {ggml_scale(ctx, q, scale), keys, v};
  return ggml_custom_4d(ctx, GGML_TYPE_F32, q->ne[0], q->ne[1], q->ne[2], 1, sources, 3, run, GGML_N_TASKS_MAX,
                        nullptr);
}

}  // namespace morph::tensor
