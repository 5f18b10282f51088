// See lookup_tables.h. A table is what a Gather takes rows of along its first axis.
#include "delegates/openvino/lookup_tables.h"

#include <algorithm>
#include <openvino/op/constant.hpp>
#include <string_view>
#include <vector>

namespace morph::openvino {
namespace {

constexpr int kFarthest = 8;  // nodes between the input and its table

bool keeps_values(std::string_view type) {
  return type == "Convert" || type == "Squeeze" || type == "Unsqueeze" || type == "Reshape" || type == "Transpose" ||
         type == "Broadcast" || type == "ConvertLike" || type == "Identity";
}

/// Rows of what this Gather takes from; 0 when it is not along the first axis of something of known size.
std::int64_t rows_of(const ov::Node& gather) {
  const ov::PartialShape& table = gather.get_input_partial_shape(0);
  const auto* axis = ov::as_type<const ov::op::v0::Constant>(gather.get_input_node_ptr(2));
  if (table.rank().is_dynamic() || table.rank().get_length() < 2 || axis == nullptr) return 0;
  const std::vector<std::int64_t> along = axis->cast_vector<std::int64_t>();
  return along.size() == 1 && along[0] == 0 && table[0].is_static() ? table[0].get_length() : 0;
}

void find_tables(const ov::Output<const ov::Node>& ids, int steps, std::int64_t& rows) {
  if (steps == 0) return;
  for (const auto& reader : ids.get_target_inputs()) {
    const ov::Node& node = *reader.get_node();
    const std::string_view type = node.get_type_info().name;
    if (type == "Gather" && reader.get_index() == 1) {
      const std::int64_t found = rows_of(node);
      if (found > 0) rows = rows == 0 ? found : std::min(rows, found);
    } else if (keeps_values(type) && reader.get_index() == 0) {
      find_tables(node.output(0), steps - 1, rows);
    }
  }
}

}  // namespace

std::int64_t rows_indexed_by(const ov::Output<const ov::Node>& input) {
  std::int64_t rows = 0;
  find_tables(input, kFarthest, rows);
  return rows;
}

}  // namespace morph::openvino
