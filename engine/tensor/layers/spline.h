// Monotonic rational quadratic splines (Durkan et al. 2019, arXiv 1906.04032), backwards: the steps of a flow between
// noise and what is drawn. Linear with slope 1 beyond the ends. On the host: they are few numbers.
#pragma once

#include <span>

namespace morph::tensor {

struct SplineShape {
  int n_bins = 1;
  double tail_bound = 1.0;  ///< the spline lies in [-tail_bound, tail_bound]
};

/// x of which the spline gives `y`. `raw`: n_bins widths, n_bins heights, n_bins - 1 slopes, all unnormalised.
double inverse_spline(const SplineShape& shape, std::span<const double> raw, double y);

}  // namespace morph::tensor
