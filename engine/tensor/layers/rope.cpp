// Made of views, products and concatenations, which every backend has.
#include "tensor/layers/rope.h"

#include <cmath>

namespace morph::tensor {

std::vector<double> rope_frequencies(std::int64_t d, double theta) {
  std::vector<double> frequencies(static_cast<std::size_t>(d / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i)
    frequencies[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(d));
  return frequencies;
}

std::vector<float> rope_angles(std::span<const std::vector<double>> frequencies,
                               std::span<const std::vector<double>> positions) {
  const std::size_t n_tokens = positions.empty() ? 0 : positions.front().size();
  std::vector<float> cosines, sines;
  for (std::size_t token = 0; token < n_tokens; ++token)
    for (std::size_t axis = 0; axis < frequencies.size(); ++axis)
      for (const double frequency : frequencies[axis]) {
        const double angle = frequency * positions[axis][token];
        cosines.push_back(static_cast<float>(std::cos(angle)));
        sines.push_back(static_cast<float>(std::sin(angle)));
      }
  cosines.insert(cosines.end(), sines.begin(), sines.end());
  return cosines;
}

ggml_tensor* rope(ggml_context* ctx, ggml_tensor* x, ggml_tensor* angles, RopePairs pairs) {
  const std::int64_t n_pair = angles->ne[0], n_tokens = angles->ne[1], n_head = x->ne[1], batch = x->ne[3];
  const auto table = [&](std::size_t which) {  // [n_pair, 1, n_tokens]
    ggml_tensor* part = ggml_view_2d(ctx, angles, n_pair, n_tokens, angles->nb[1], which * angles->nb[2]);
    return ggml_reshape_3d(ctx, part, n_pair, 1, n_tokens);
  };
  ggml_tensor *cosine = table(0), *sine = table(1);
  const auto side = [&](std::size_t which) {  // [n_pair, n_head, n_tokens, batch]
    if (pairs == RopePairs::halves)
      return ggml_cont(ctx, ggml_view_4d(ctx, x, n_pair, n_head, n_tokens, batch, x->nb[1], x->nb[2], x->nb[3],
                                         which * static_cast<std::size_t>(n_pair) * x->nb[0]));
    // Pairs become a dimension of their own, of which one side is taken. Batch and tokens are one meanwhile.
    ggml_tensor* whole = ggml_cont(ctx, x);
    ggml_tensor* one = ggml_view_4d(ctx, whole, 1, n_pair, n_head, n_tokens * batch, 2 * whole->nb[0], whole->nb[1],
                                    whole->nb[2], which * whole->nb[0]);
    return ggml_reshape_4d(ctx, ggml_cont(ctx, one), n_pair, n_head, n_tokens, batch);
  };
  ggml_tensor *a = side(0), *b = side(1);
  ggml_tensor* turned_a = ggml_sub(ctx, ggml_mul(ctx, a, cosine), ggml_mul(ctx, b, sine));
  ggml_tensor* turned_b = ggml_add(ctx, ggml_mul(ctx, a, sine), ggml_mul(ctx, b, cosine));
  ggml_tensor* turned = nullptr;
  if (pairs == RopePairs::halves) {
    turned = ggml_concat(ctx, turned_a, turned_b, 0);
  } else {
    const auto thin = [&](ggml_tensor* t) { return ggml_reshape_4d(ctx, t, 1, n_pair, n_head, n_tokens * batch); };
    turned = ggml_concat(ctx, thin(turned_a), thin(turned_b), 0);
    turned = ggml_reshape_4d(ctx, turned, 2 * n_pair, n_head, n_tokens, batch);
  }
  if (2 * n_pair == x->ne[0]) return turned;
  ggml_tensor* rest = ggml_view_4d(ctx, x, x->ne[0] - 2 * n_pair, n_head, n_tokens, batch, x->nb[1], x->nb[2], x->nb[3],
                                   static_cast<std::size_t>(2 * n_pair) * x->nb[0]);
  return ggml_concat(ctx, turned, ggml_cont(ctx, rest), 0);
}

}  // namespace morph::tensor
