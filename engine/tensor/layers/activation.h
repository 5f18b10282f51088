// Activation functions by the names that published configurations use.
#pragma once

#include <ggml.h>

#include <optional>
#include <string_view>

namespace morph::tensor {

enum class Activation : unsigned char { gelu, gelu_tanh, relu, silu };

/// "gelu" (exact), "gelu_new" and "gelu_pytorch_tanh", "relu", "silu" and "swish"; nothing for another name.
std::optional<Activation> parse_activation(std::string_view name);

/// `on_cpu`: the graph runs on the CPU, where faster forms exist; `x` may then be overwritten.
ggml_tensor* activate(ggml_context* ctx, Activation activation, ggml_tensor* x, bool on_cpu = false);

}  // namespace morph::tensor
