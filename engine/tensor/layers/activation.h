// Activation functions by the names that published configurations use.
#pragma once

#include <ggml.h>

#include <optional>
#include <string_view>

namespace morph::tensor {

enum class Activation : unsigned char { gelu, gelu_tanh, relu, silu };

/// "gelu" (exact), "gelu_new" and "gelu_pytorch_tanh", "relu", "silu" and "swish"; nothing for another name.
std::optional<Activation> parse_activation(std::string_view name);

ggml_tensor* activate(ggml_context* ctx, Activation activation, ggml_tensor* x);

}  // namespace morph::tensor
