// Feed-forward blocks: plain, gated (Shazeer 2020, arXiv 2002.05202), and mixtures of gated experts with their routing.
#pragma once

#include <ggml.h>

#include "tensor/layers/activation.h"

namespace morph::tensor {

struct LinearWeights {
  ggml_tensor* weight = nullptr;  ///< [d_in, d_out]
  ggml_tensor* bias = nullptr;    ///< [d_out] or null
};

/// down(act(up(x))). `x` [d, n, ...].
ggml_tensor* mlp(ggml_context* ctx, Activation activation, LinearWeights up, LinearWeights down, ggml_tensor* x,
                 bool on_cpu = false);

/// down(act(gate(x)) * up(x)).
ggml_tensor* gated_mlp(ggml_context* ctx, Activation activation, LinearWeights gate, LinearWeights up,
                       LinearWeights down, ggml_tensor* x);

/// How experts are chosen from a router's scores.
struct MoeRouting {
  int n_used = 1;               ///< experts for each token
  bool sigmoid = false;         ///< of each score alone; otherwise a softmax over all experts
  bool normalise = true;        ///< weights of the chosen ones sum to 1
  float scale = 1.0f;           ///< then times this
  ggml_tensor* bias = nullptr;  ///< [n_expert], added for the choice only, or null
  int n_groups = 1;             ///< experts in groups of which n_groups_used are looked at (DeepSeek-V3)
  int n_groups_used = 1;        ///< those whose two best scores sum highest
};

struct MoeChoice {
  ggml_tensor* experts = nullptr;  ///< I32 [n_used, n_tokens]
  ggml_tensor* weights = nullptr;  ///< [1, n_used, n_tokens]
};

/// `logits` [n_expert, n_tokens].
MoeChoice moe_route(ggml_context* ctx, ggml_tensor* logits, const MoeRouting& routing);

/// Gated experts stacked as [d, d_ff, n_expert] (gate, up) and [d_ff, d, n_expert] (down); `x` [d, n_tokens] -> the
/// same.
ggml_tensor* moe_mlp(ggml_context* ctx, Activation activation, ggml_tensor* gate, ggml_tensor* up, ggml_tensor* down,
                     const MoeChoice& choice, ggml_tensor* x);

}  // namespace morph::tensor
