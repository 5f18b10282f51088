// See spline.h. Bins and slopes have the lower limits that published models were trained with.
#include "tensor/layers/spline.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace morph::tensor {
namespace {

constexpr double kMinBin = 1e-3, kMinSlope = 1e-3;

double softplus(double x) { return x > 20 ? x : std::log1p(std::exp(x)); }

/// Edges of the bins whose sizes are a softmax of `raw`, from -bound to bound.
std::vector<double> edges(std::span<const double> raw, double bound) {
  const double top = *std::max_element(raw.begin(), raw.end());
  double sum = 0;
  for (const double value : raw) sum += std::exp(value - top);
  std::vector<double> at{-bound};
  double share = 0;
  for (const double value : raw) {
    share += kMinBin + (1 - kMinBin * static_cast<double>(raw.size())) * std::exp(value - top) / sum;
    at.push_back(2 * bound * share - bound);
  }
  at.back() = bound;
  return at;
}

}  // namespace

double inverse_spline(const SplineShape& shape, std::span<const double> raw, double y) {
  if (!(y >= -shape.tail_bound && y <= shape.tail_bound)) return y;
  const auto n = static_cast<std::size_t>(shape.n_bins);
  const std::vector<double> xs = edges(raw.subspan(0, n), shape.tail_bound),
                            ys = edges(raw.subspan(n, n), shape.tail_bound);
  std::size_t bin = 0;
  while (bin + 1 < n && y >= ys[bin + 1]) ++bin;
  const auto slope = [&](std::size_t edge) {
    return edge == 0 || edge == n ? 1.0 : kMinSlope + softplus(raw[2 * n + edge - 1]);
  };
  const double width = xs[bin + 1] - xs[bin], height = ys[bin + 1] - ys[bin], delta = height / width;
  const double left = slope(bin), right = slope(bin + 1), bend = left + right - 2 * delta, above = y - ys[bin];
  const double a = height * (delta - left) + above * bend, b = height * left - above * bend, c = -delta * above;
  const double root = 2 * c / (-b - std::sqrt(std::max(0.0, b * b - 4 * a * c)));
  return root * width + xs[bin];
}

}  // namespace morph::tensor
