// See verify.h.
#include "tensor/verify.h"

#include <fmt/format.h>

#include <cmath>

#include "morph/error.h"

namespace morph::tensor {

GoldenSet::GoldenSet(const std::filesystem::path& folder)
    : inputs_(Checkpoint::open(folder / "golden" / "inputs.safetensors")),
      outputs_(Checkpoint::open(folder / "golden" / "outputs.safetensors")) {}

const StoredTensor& GoldenSet::input(std::string_view name, std::size_t rank) const {
  const StoredTensor& tensor = inputs_.at(name);
  if (tensor.shape.size() != rank)
    throw Error(ErrorCode::weights, tensor.where,
                fmt::format("expected {} dimensions, found {}", rank, shape_text(tensor.shape)));
  return tensor;
}

void GoldenSet::declare(std::string name, std::string component, Floats compute, double tolerance, std::string why) {
  known_[std::move(name)] = {std::move(component), std::move(compute), {}, tolerance, std::move(why)};
}

void GoldenSet::declare_integers(std::string name, std::string component, Integers compute) {
  known_[std::move(name)] = {std::move(component), {}, std::move(compute), 0, ""};
}

VerifyRow GoldenSet::compare(const StoredTensor& expected, const Known& known) const {
  VerifyRow row;
  row.name = expected.name;
  row.component = known.component;
  row.note = known.why;
  row.tolerance = known.tolerance;
  if (known.integers) {
    const std::vector<std::int64_t> wanted = to_i64(expected), found = known.integers();
    std::size_t wrong = wanted.size() > found.size() ? wanted.size() - found.size() : found.size() - wanted.size();
    for (std::size_t i = 0; i < std::min(wanted.size(), found.size()); ++i) wrong += wanted[i] != found[i] ? 1 : 0;
    row.status = wrong == 0 ? "pass" : "fail";
    if (wrong != 0) row.note = fmt::format("{} of {} whole numbers differ", wrong, wanted.size());
    row.max_abs = wrong == 0 ? 0.0 : 1.0;
    return row;
  }
  const std::vector<float> wanted = to_f32(expected), found = known.floats();
  if (wanted.size() != found.size()) {
    row.status = "fail";
    row.note = fmt::format("expected {} values, computed {}", wanted.size(), found.size());
    return row;
  }
  const Difference apart = difference(found, wanted);
  row.nmse = apart.nmse;
  row.max_abs = apart.max_abs;
  row.status = apart.nmse <= known.tolerance ? "pass" : "fail";
  return row;
}

std::vector<VerifyRow> GoldenSet::run(const std::string& configuration) const {
  std::vector<VerifyRow> rows;
  for (const auto& [name, expected] : outputs_.tensors()) {
    const auto found = known_.find(name);
    VerifyRow row;
    row.name = name;
    if (found == known_.end()) {
      row.status = "skip";
      row.note = "the family has no output of this name";
    } else {
      try {
        row = compare(expected, found->second);
      } catch (const Error& error) {
        if (error.code() == ErrorCode::cancelled) throw;
        row.component = found->second.component;
        row.tolerance = found->second.tolerance;
        row.status = "fail";
        row.note = error.what();
      }
    }
    row.configuration = configuration;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<VerifyRow> both_ways(const std::function<std::vector<VerifyRow>(bool exact)>& verify) {
  std::vector<VerifyRow> rows = verify(true);
  for (VerifyRow& row : verify(false)) rows.push_back(std::move(row));
  return rows;
}

Difference difference(std::span<const float> found, std::span<const float> expected) {
  double error = 0, power = 0, largest = 0;
  for (std::size_t i = 0; i < expected.size() && i < found.size(); ++i) {
    const double apart = static_cast<double>(found[i]) - static_cast<double>(expected[i]);
    error += apart * apart;
    power += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
    if (!(std::fabs(apart) <= largest)) largest = std::fabs(apart);
  }
  return {power > 0 ? error / power : error, largest};
}

}  // namespace morph::tensor
