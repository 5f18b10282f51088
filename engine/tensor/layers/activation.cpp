// Activation functions.
#include "tensor/layers/activation.h"

#include "tensor/layers/gelu.h"

namespace morph::tensor {

std::optional<Activation> parse_activation(std::string_view name) {
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  if (name == "silu" || name == "swish") return Activation::silu;
  return std::nullopt;
}

ggml_tensor* activate(ggml_context* ctx, Activation activation, ggml_tensor* x, bool on_cpu) {
  switch (activation) {
    case Activation::gelu:
      return on_cpu && ggml_is_contiguous(x) ? gelu_on_cpu(ctx, x) : ggml_gelu_erf(ctx, x);
    case Activation::gelu_tanh:
      return ggml_gelu(ctx, x);
    case Activation::relu:
      return ggml_relu(ctx, x);
    case Activation::silu:
      return ggml_silu(ctx, x);
  }
  return x;
}

}  // namespace morph::tensor
