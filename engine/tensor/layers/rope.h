// Rotary position embedding (Su et al. 2021, arXiv 2104.09864), over one axis or several: text has one position, a
// picture two, a video three. Each axis turns its own share of the pairs. Angles are worked out on the host, in double
// precision, and are an input of the graph, so that every published scaling (linear, NTK, YaRN) is a matter of
// `frequencies`.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <span>
#include <vector>

namespace morph::tensor {

/// Which elements of a head make a pair.
enum class RopePairs : std::uint8_t {
  interleaved,  ///< 2i and 2i + 1 (GPT-J, FLUX)
  halves        ///< i and i + d_rotated / 2 (NeoX, Llama as published)
};

/// theta^(-2i / d) for the d / 2 pairs of one axis.
std::vector<double> rope_frequencies(std::int64_t d, double theta);

/// Cosines, then sines: [d_rotated / 2, n_tokens, 2] for positions [n_axes][n_tokens]; pairs of the first axis come
/// first. `frequencies`: one list for each axis.
std::vector<float> rope_angles(std::span<const std::vector<double>> frequencies,
                               std::span<const std::vector<double>> positions);

/// Turns the first 2 * angles->ne[0] elements of each head of `x` [d_head, n_head, n_tokens, batch] F32; the others
/// stay. `angles` [d_rotated / 2, n_tokens, 2].
ggml_tensor* rope(ggml_context* ctx, ggml_tensor* x, ggml_tensor* angles, RopePairs pairs);

}  // namespace morph::tensor
