// Graph rewriting for repeatable noise; see seeded_noise.h. Generator: splitmix64 (Steele, Lea, Flood 2014), used as a
// hash of a counter.
#include "delegates/openvino/seeded_noise.h"

#include <openvino/core/graph_util.hpp>
#include <openvino/core/model.hpp>
#include <openvino/opsets/opset8.hpp>

#include "base/mixed_bits.h"

namespace morph::openvino {
namespace {

std::uint64_t mix(std::uint64_t x) { return mixed_bits(x + kMixedStep); }

}  // namespace

std::vector<NoiseInput> replace_random(const std::shared_ptr<ov::Model>& model) {
  namespace op = ov::opset8;
  std::vector<NoiseInput> replaced;
  ov::ParameterVector parameters;
  ov::ResultVector results;
  const auto scalar = [](std::int64_t value) { return op::Constant::create(ov::element::i64, ov::Shape{}, {value}); };
  for (const std::shared_ptr<ov::Node>& node : model->get_ordered_ops()) {
    const auto random = ov::as_type_ptr<op::RandomUniform>(node);
    if (!random || !random->get_output_element_type(0).is_real()) continue;
    const NoiseInput names{"morph.noise." + std::to_string(replaced.size()),
                           "morph.noise_count." + std::to_string(replaced.size())};
    const auto pool = std::make_shared<op::Parameter>(ov::element::f32, ov::PartialShape{-1});
    pool->set_friendly_name(names.input);
    pool->output(0).set_names({names.input});

    const auto shape = std::make_shared<op::Convert>(random->input_value(0), ov::element::i64);
    const auto axis = op::Constant::create(ov::element::i64, ov::Shape{1}, {0});
    const auto count = std::make_shared<op::ReduceProd>(shape, axis, false);
    const auto pool_size = std::make_shared<op::Squeeze>(std::make_shared<op::ShapeOf>(pool, ov::element::i64), axis);
    const auto range = std::make_shared<op::Range>(scalar(0), count, scalar(1), ov::element::i64);
    const auto indices = std::make_shared<op::Mod>(range, pool_size);
    const auto flat = std::make_shared<op::Gather>(pool, indices, scalar(0));
    const auto shaped = std::make_shared<op::Reshape>(flat, shape, false);
    // RandomUniform's contract: low <= x < high.
    const auto typed = std::make_shared<op::Convert>(shaped, random->get_output_element_type(0));
    const auto width = std::make_shared<op::Subtract>(random->input_value(2), random->input_value(1));
    const auto scaled = std::make_shared<op::Add>(std::make_shared<op::Multiply>(typed, width), random->input_value(1));
    scaled->set_friendly_name(random->get_friendly_name());
    const auto result = std::make_shared<op::Result>(count);
    count->output(0).set_names({names.count_output});

    ov::replace_node(random, scaled);
    parameters.push_back(pool);
    results.push_back(result);
    replaced.push_back(names);
  }
  if (!replaced.empty()) {
    model->add_parameters(parameters);
    model->add_results(results);
    model->validate_nodes_and_infer_types();
  }
  return replaced;
}

void fill_uniform(std::uint64_t seed, std::uint64_t stream, std::span<float> out) {
  const std::uint64_t start = mix(mix(seed) ^ (stream * 0xd1342543de82ef95ull));
  for (std::size_t i = 0; i < out.size(); ++i)
    // 23 random bits and a half: never 0 and never 1, so that logarithms downstream stay finite.
    out[i] = (static_cast<float>(mix(start + i) >> 41) + 0.5f) * 0x1p-23f;
}

}  // namespace morph::openvino
