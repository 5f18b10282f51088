// See integer_weights.h.
#include "delegates/openvino/integer_weights.h"

#include <map>
#include <openvino/core/model.hpp>
#include <openvino/opsets/opset8.hpp>
#include <utility>
#include <vector>

namespace morph::openvino {
namespace {

namespace op = ov::opset8;
using NodePtr = std::shared_ptr<ov::Node>;
using Constants = std::pair<const ov::Node*, const ov::Node*>;  ///< weights, zero point

bool is_byte(const ov::element::Type& type) { return type == ov::element::i8 || type == ov::element::u8; }

/// The 8-bit constant under a conversion to a wider integer; null when it is anything else.
NodePtr widened_bytes(const NodePtr& node) {
  if (!ov::is_type<op::Convert>(node) || !node->get_output_element_type(0).is_integral_number()) return nullptr;
  const NodePtr source = node->get_input_node_shared_ptr(0);
  return ov::is_type<op::Constant>(source) && is_byte(source->get_output_element_type(0)) ? source : nullptr;
}

/// Conversions to F32 that read the product; empty when something else reads it too.
std::vector<NodePtr> readers_as_f32(const NodePtr& product) {
  std::vector<NodePtr> readers;
  for (const ov::Input<ov::Node>& input : product->output(0).get_target_inputs()) {
    const NodePtr reader = input.get_node()->shared_from_this();
    if (!ov::is_type<op::Convert>(reader) || reader->get_output_element_type(0) != ov::element::f32) return {};
    readers.push_back(reader);
  }
  return readers;
}

}  // namespace

std::size_t keep_integer_weights(const std::shared_ptr<ov::Model>& model) {
  std::map<Constants, NodePtr> unfolded;  // layers that share their weights go on sharing them
  std::size_t n_products = 0;
  for (const NodePtr& node : model->get_ordered_ops()) {
    const auto product = ov::as_type_ptr<op::MatMul>(node);
    if (!product || !ov::is_type<op::Subtract>(product->get_input_node_shared_ptr(1))) continue;
    const NodePtr difference = product->get_input_node_shared_ptr(1);
    const NodePtr weights = widened_bytes(difference->get_input_node_shared_ptr(0));
    const NodePtr zero = widened_bytes(difference->get_input_node_shared_ptr(1));
    const std::vector<NodePtr> readers = readers_as_f32(product);
    if (!weights || !zero || readers.empty()) continue;
    NodePtr& decompressed = unfolded[{weights.get(), zero.get()}];
    if (!decompressed) {
      const auto centred = std::make_shared<op::Subtract>(std::make_shared<op::Convert>(weights, ov::element::f32),
                                                          std::make_shared<op::Convert>(zero, ov::element::f32));
      // The pattern that the plugin knows ends in a scale.
      const auto one = op::Constant::create(ov::element::f32, ov::Shape{}, {1.0f});
      decompressed = std::make_shared<op::Multiply>(centred, one);
    }
    const auto inputs = std::make_shared<op::Convert>(product->input_value(0), ov::element::f32);
    const auto replacement =
        std::make_shared<op::MatMul>(inputs, decompressed, product->get_transpose_a(), product->get_transpose_b());
    replacement->set_friendly_name(product->get_friendly_name());
    for (const NodePtr& reader : readers) reader->output(0).replace(replacement->output(0));
    ++n_products;
  }
  if (n_products > 0) model->validate_nodes_and_infer_types();
  return n_products;
}

}  // namespace morph::openvino
