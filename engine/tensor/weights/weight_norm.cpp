// See weight_norm.h. Folded tensors are owned by the checkpoint that is returned.
#include "tensor/weights/weight_norm.h"

#include <cmath>
#include <string>
#include <utility>

#include "morph/error.h"

namespace morph::tensor {
namespace {

std::vector<float> folded(const StoredTensor& length, const StoredTensor& direction) {
  const std::size_t rank = direction.shape.size();
  const auto wrong = [&] {
    throw Error(ErrorCode::weights, direction.where,
                "expected a direction with a length for each index of one axis, found " + shape_text(direction.shape) +
                    " with " + shape_text(length.shape));
  };
  if (length.shape.size() != rank || rank == 0) wrong();
  std::size_t axis = rank;
  for (std::size_t i = 0; i < rank; ++i) {
    if (length.shape[i] == 1) continue;
    if (axis != rank || length.shape[i] != direction.shape[i]) wrong();
    axis = i;
  }
  // Lengths repeat every `inner` values of an index, `n` indices in turn.
  std::int64_t inner = 1, n = 1;
  if (axis != rank) {
    n = direction.shape[axis];
    for (std::size_t i = axis + 1; i < rank; ++i) inner *= direction.shape[i];
  } else {
    inner = direction.elements();
  }
  std::vector<float> values = to_f32(direction);
  const std::vector<float> lengths = to_f32(length);
  std::vector<double> squares(static_cast<std::size_t>(n));
  const auto index = [&](std::size_t i) {
    return static_cast<std::size_t>(static_cast<std::int64_t>(i) / std::max<std::int64_t>(1, inner) % n);
  };
  for (std::size_t i = 0; i < values.size(); ++i)
    squares[index(i)] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(lengths[index(i)] * values[i] / std::sqrt(squares[index(i)]));
  return values;
}

}  // namespace

Checkpoint fold_weight_norm(const Checkpoint& checkpoint) {
  Checkpoint result = checkpoint.below("");
  for (const auto& [g, v] : {std::pair<std::string, std::string>{".weight_g", ".weight_v"},
                             {".parametrizations.weight.original0", ".parametrizations.weight.original1"}})
    for (const auto& [name, length] : checkpoint.tensors()) {
      if (!name.ends_with(g)) continue;
      const std::string stem = name.substr(0, name.size() - g.size());
      const StoredTensor* direction = checkpoint.find(stem + v);
      if (direction == nullptr) continue;
      result.replace({name, stem + v}, stem + ".weight", direction->shape, folded(length, *direction));
    }
  return result;
}

}  // namespace morph::tensor
