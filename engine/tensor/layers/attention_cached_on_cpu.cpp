// A unit of work is one head of one text. Rows of keys and values are widened to F32 in registers by integer
// arithmetic, which every instruction set has, and serve up to kRows queries. Vectors are GCC's.
#include "tensor/layers/attention_cached_on_cpu.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/layers/cpu_variants.h"
#include "tensor/layers/exponential.h"

namespace morph::tensor {
namespace {

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef std::uint32_t Bits __attribute__((vector_size(64), aligned(4), may_alias));
typedef std::uint16_t Halves __attribute__((vector_size(32), aligned(2), may_alias));
constexpr int kLanes = 16, kRows = 4, kMaxParts = 8;
constexpr std::int64_t kMostQueries = 8;

struct Rows {
  const char* data;
  std::size_t stride;
  std::int64_t n;
};

/// By reference: a vector that is returned belongs to the calling convention of one instruction set.
inline __attribute__((always_inline)) void widen(const std::uint16_t* from, Lanes& to) {
  const Bits bits = __builtin_convertvector(*reinterpret_cast<const Halves*>(from), Bits);
  const Lanes magnitude = (Lanes)((bits & 0x7fffU) << 13) * 0x1p112f;  // a half's exponent, moved to a float's bias
  to = (Lanes)((Bits)magnitude | ((bits & 0x8000U) << 16));
}

/// scores[r][key] = q[r] . k[key]
template <int rows, int parts>
inline __attribute__((always_inline)) void score(const Rows& keys, const float* const* q, float* scores) {
  Lanes query[rows][parts];
  for (int r = 0; r < rows; ++r)
    for (int p = 0; p < parts; ++p) query[r][p] = *reinterpret_cast<const Lanes*>(q[r] + p * kLanes);
  for (std::int64_t key = 0; key < keys.n; ++key) {
    const auto* row = reinterpret_cast<const std::uint16_t*>(keys.data + static_cast<std::size_t>(key) * keys.stride);
    Lanes sum[rows] = {};
#pragma GCC unroll 8
    for (int p = 0; p < parts; ++p) {
      Lanes k;
      widen(row + p * kLanes, k);
      for (int r = 0; r < rows; ++r) sum[r] += k * query[r][p];
    }
    for (int r = 0; r < rows; ++r) {
      float total = 0;
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) total += sum[r][i];
      scores[r * keys.n + key] = total;
    }
  }
}

/// out[r] = sum over keys of p[r][key] * v[key], times factor[r].
template <int rows, int parts>
inline __attribute__((always_inline)) void mix(const Rows& values, const float* p, const float* factor,
                                               float* const* out) {
  Lanes sum[rows][parts] = {};
  for (std::int64_t key = 0; key < values.n; ++key) {
    const auto* row =
        reinterpret_cast<const std::uint16_t*>(values.data + static_cast<std::size_t>(key) * values.stride);
#pragma GCC unroll 8
    for (int part = 0; part < parts; ++part) {
      Lanes v;
      widen(row + part * kLanes, v);
      for (int r = 0; r < rows; ++r) sum[r][part] += v * p[r * values.n + key];
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int part = 0; part < parts; ++part)
      *reinterpret_cast<Lanes*>(out[r] + part * kLanes) = sum[r][part] * factor[r];
}

/// Scores to e^(score - largest), in place; returns the reciprocal of their sum. Masked ones become 0.
MORPH_CPU_VARIANTS float softmax(float* scores, std::int64_t n, const std::uint16_t* mask) {
  if (mask != nullptr)
    for (std::int64_t i = 0; i < n; ++i) scores[i] = mask[i] == 0xFC00U ? -1e30f : scores[i];
  float top = scores[0];
  for (std::int64_t i = 0; i < n; ++i) top = scores[i] > top ? scores[i] : top;
  for (std::int64_t i = 0; i < n; ++i) {
    const float below = scores[i] - top;
    scores[i] = below > -80.0f ? exponential(below < 0.0f ? below : 0.0f) : 0.0f;
  }
  Lanes sum = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum += *reinterpret_cast<const Lanes*>(scores + i);
  float total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
  for (; i < n; ++i) total += scores[i];
  return 1.0f / total;
}

struct Work {
  Rows keys, values;
  int rows, parts;
  const float* q[kRows];
  float* out[kRows];
  const std::uint16_t* mask[kRows];
};

template <int rows, int parts>
inline __attribute__((always_inline)) void attend_as(const Work& work, float* scores) {
  score<rows, parts>(work.keys, work.q, scores);
  float factor[rows];
  for (int r = 0; r < rows; ++r) factor[r] = softmax(scores + r * work.keys.n, work.keys.n, work.mask[r]);
  mix<rows, parts>(work.values, scores, factor, work.out);
}

MORPH_CPU_VARIANTS void attend_one_64(const Work& work, float* scores) { attend_as<1, 4>(work, scores); }
MORPH_CPU_VARIANTS void attend_four_64(const Work& work, float* scores) { attend_as<4, 4>(work, scores); }

/// Any width, a query at a time.
MORPH_CPU_VARIANTS void attend_any(const Work& work, float* scores) {
  const auto n = work.keys.n;
  for (int r = 0; r < work.rows; ++r) {
    for (std::int64_t key = 0; key < n; ++key) {
      const auto* row =
          reinterpret_cast<const std::uint16_t*>(work.keys.data + static_cast<std::size_t>(key) * work.keys.stride);
      Lanes sum = {};
      for (int p = 0; p < work.parts; ++p) {
        Lanes k;
        widen(row + p * kLanes, k);
        sum += k * *reinterpret_cast<const Lanes*>(work.q[r] + p * kLanes);
      }
      float total = 0;
      for (int i = 0; i < kLanes; ++i) total += sum[i];
      scores[key] = total;
    }
    const float factor = softmax(scores, n, work.mask[r]);
    Lanes mixed[kMaxParts] = {};
    for (std::int64_t key = 0; key < n; ++key) {
      const auto* row =
          reinterpret_cast<const std::uint16_t*>(work.values.data + static_cast<std::size_t>(key) * work.values.stride);
      for (int p = 0; p < work.parts; ++p) {
        Lanes v;
        widen(row + p * kLanes, v);
        mixed[p] += v * scores[key];
      }
    }
    for (int p = 0; p < work.parts; ++p) *reinterpret_cast<Lanes*>(work.out[r] + p * kLanes) = mixed[p] * factor;
  }
}

const char* at(const ggml_tensor* tensor, std::int64_t i1, std::int64_t i2, std::int64_t i3) {
  return static_cast<const char*>(tensor->data) + static_cast<std::size_t>(i1) * tensor->nb[1] +
         static_cast<std::size_t>(i2) * tensor->nb[2] + static_cast<std::size_t>(i3) * tensor->nb[3];
}

/// Sources: q (scaled), k, v, and the mask where there is one. The result is [d_head, n_head, n_q, n_batch],
/// contiguous.
void run(ggml_tensor* to, int ith, int nth, void* /*user*/) {
  const ggml_tensor *q = to->src[0], *k = to->src[1], *v = to->src[2], *mask = to->src[3];
  const std::int64_t n_q = q->ne[1], n_head = q->ne[2], units = n_head * q->ne[3];
  std::vector<float> scores(static_cast<std::size_t>(kRows * k->ne[1]));
  for (std::int64_t unit = units * ith / nth; unit < units * (ith + 1) / nth; ++unit) {
    const std::int64_t head = unit % n_head, batch = unit / n_head;
    for (std::int64_t first = 0; first < n_q; first += kRows) {
      Work work{{at(k, 0, head, batch), k->nb[1], k->ne[1]},
                {at(v, 0, head, batch), v->nb[1], v->ne[1]},
                static_cast<int>(std::min<std::int64_t>(kRows, n_q - first)),
                static_cast<int>(q->ne[0] / kLanes),
                {},
                {},
                {}};
      for (int r = 0; r < kRows; ++r) {
        const std::int64_t row = std::min(first + r, n_q - 1);  // what is short of kRows is done twice
        work.q[r] = reinterpret_cast<const float*>(at(q, row, head, batch));
        work.out[r] = const_cast<float*>(reinterpret_cast<const float*>(at(to, head, row, batch)));
        work.mask[r] = mask == nullptr ? nullptr : reinterpret_cast<const std::uint16_t*>(at(mask, row, 0, batch));
      }
      if (work.parts == 4 && work.rows == 1)
        attend_one_64(work, scores.data());
      else if (work.parts == 4)
        attend_four_64(work, scores.data());
      else
        attend_any(work, scores.data());
    }
  }
}

}  // namespace

bool can_attend_cached_on_cpu(const ggml_tensor* q, const ggml_tensor* k, const ggml_tensor* v) {
  return q->type == GGML_TYPE_F32 && k->type == GGML_TYPE_F16 && v->type == GGML_TYPE_F16 && q->ne[0] % kLanes == 0 &&
         q->ne[0] <= kMaxParts * kLanes && q->ne[1] <= kMostQueries && k->ne[2] == q->ne[2] && k->ne[3] == q->ne[3];
}

ggml_tensor* attend_cached_on_cpu(ggml_context* ctx, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, ggml_tensor* mask,
                                  float scale) {
  ggml_tensor* sources[] = {ggml_scale(ctx, ggml_cont(ctx, q), scale), k, v, mask};
  return ggml_custom_4d(ctx, GGML_TYPE_F32, q->ne[0], q->ne[2], q->ne[1], q->ne[3], sources, mask == nullptr ? 3 : 4,
                        run, GGML_N_TASKS_MAX, nullptr);
}

}  // namespace morph::tensor
