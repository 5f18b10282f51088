// e^y in plain arithmetic that compilers vectorise: shared by the CPU kernels of this folder.
#pragma once

#include <bit>
#include <cstdint>

namespace morph::tensor {

/// e^y for -80 <= y <= 0, to about one unit in the last place of F32. Splits off the power of two (the constant rounds
/// to a whole number in the low bits) and takes six terms of the series for the rest. Inlined into each CPU variant.
[[gnu::always_inline]] inline float exponential(float y) {
  const float shifted = y * 1.44269504f + 12582912.0f;
  const float whole = shifted - 12582912.0f;
  const float r = (y - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float e = 1.0f / 720.0f;
  e = e * r + 1.0f / 120.0f;
  e = e * r + 1.0f / 24.0f;
  e = e * r + 1.0f / 6.0f;
  e = e * r + 0.5f;
  e = e * r + 1.0f;
  e = e * r + 1.0f;
  const std::uint32_t power = (std::bit_cast<std::uint32_t>(shifted) + 127U) << 23;
  return e * std::bit_cast<float>(power);
}

}  // namespace morph::tensor
