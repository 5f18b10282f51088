// erf by Abramowitz and Stegun 7.1.26 (error below 1.5e-7), e^y by range reduction and a polynomial. The loop is free
// of branches and calls, so the compiler vectorises it; it is compiled for several instruction sets and chosen at run
// time.
#include "tensor/layers/gelu.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "tensor/layers/cpu_variants.h"
#include "tensor/layers/exponential.h"

namespace morph::tensor {
namespace {

constexpr std::int64_t kBlock = 4096;

void run(ggml_tensor* to, const ggml_tensor* from, int ith, int nth, void* /*user*/) {
  const std::int64_t n = ggml_nelements(from), blocks = (n + kBlock - 1) / kBlock;
  const std::int64_t first = std::min(n, blocks * ith / nth * kBlock),
                     last = std::min(n, blocks * (ith + 1) / nth * kBlock);
  gelu(static_cast<const float*>(from->data) + first, static_cast<float*>(to->data) + first, last - first);
}

}  // namespace

MORPH_CPU_VARIANTS void gelu(const float* x, float* out, long n) {
  for (long i = 0; i < n; ++i) {
    const float value = x[i];
    const float z = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0x7fffffffU) * 0.70710678f;
    // e^(-z^2), with -z^2 held where the result is a normal number
    const float square = z * z;
    const float y = square < 80.0f ? -square : -80.0f;
    const float e = exponential(y);
    const float t = 1.0f / (1.0f + 0.3275911f * z);
    float tail = 1.061405429f;
    tail = tail * t - 1.453152027f;
    tail = tail * t + 1.421413741f;
    tail = tail * t - 0.284496736f;
    tail = tail * t + 0.254829592f;
    tail *= t * e;  // 1 - erf(z)
    // x >= 0: x - x/2 * tail; x < 0: x/2 * tail
    const float half = 0.5f * value * tail;
    out[i] = value >= 0.0f ? value - half : half;
  }
}

ggml_tensor* gelu_on_cpu(ggml_context* ctx, ggml_tensor* x) {
  return ggml_map_custom1_inplace(ctx, x, run, GGML_N_TASKS_MAX, nullptr);
}

}  // namespace morph::tensor
