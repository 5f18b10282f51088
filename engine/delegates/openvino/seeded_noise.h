// Random numbers inside a model, made repeatable: every RandomUniform node (OpenVINO also builds RandomNormal and
// Bernoulli from it) becomes a read from an input of uniform numbers that we fill from a seed.
// The wanted amount is known only inside the graph (a voice decides how long a sentence gets), so the graph reads the
// input cyclically and reports the amount as an output; the session runs again with a longer input when it was short.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ov {
class Model;
}

namespace morph::openvino {

struct NoiseInput {
  std::string input;         ///< f32 [n]: uniform numbers in (0, 1)
  std::string count_output;  ///< i64 scalar: numbers wanted
};

/// Rewrites the model in place; one entry per replaced node, in graph order.
std::vector<NoiseInput> replace_random(const std::shared_ptr<ov::Model>& model);

/// Number i of a stream is a function of (seed, stream, i) alone (splitmix64), so a longer input starts the same way.
void fill_uniform(std::uint64_t seed, std::uint64_t stream, std::span<float> out);

}  // namespace morph::openvino
