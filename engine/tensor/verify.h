// GoldenSet: compares what a family computes with a checkpoint's golden/ folder; the shared half of `morph verify`.
//
// A family declares how each output it knows is computed; run() makes a row for every tensor of outputs.safetensors:
// one that nobody declared is a named skip. Float tensors pass at nmse <= 1e-6 unless declared otherwise.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "morph/registry.h"
#include "tensor/weights/checkpoint.h"

namespace morph::tensor {

/// Not thread-safe. `folder` is the checkpoint's; throws Error{weights} when it has no golden set.
class GoldenSet {
 public:
  explicit GoldenSet(const std::filesystem::path& folder);

  bool has_input(std::string_view name) const { return inputs_.find(name) != nullptr; }
  const StoredTensor& input(std::string_view name) const { return inputs_.at(name); }
  /// The same, of this many dimensions. Throws Error{weights}.
  const StoredTensor& input(std::string_view name, std::size_t rank) const;
  const StoredTensor& output(std::string_view name) const { return outputs_.at(name); }

  using Floats = std::function<std::vector<float>()>;
  using Integers = std::function<std::vector<std::int64_t>()>;
  void declare(std::string name, std::string component, Floats compute, double tolerance = 1e-6, std::string why = "");
  void declare_integers(std::string name, std::string component, Integers compute);

  /// One row per output tensor, in name order. An Error of one computation fails its row (a cancel goes through).
  /// `configuration`: what ran, kept in every row.
  std::vector<VerifyRow> run(const std::string& configuration = "") const;

 private:
  struct Known {
    std::string component;
    Floats floats;
    Integers integers;
    double tolerance = 0;
    std::string why;
  };
  VerifyRow compare(const StoredTensor& expected, const Known& known) const;

  Checkpoint inputs_, outputs_;
  std::map<std::string, Known, std::less<>> known_;
};

/// The rows of a family in both of its configurations: exact (every weight in F32, as references compute), then as it
/// is shipped.
std::vector<VerifyRow> both_ways(const std::function<std::vector<VerifyRow>(bool exact)>& verify);

/// Normalised mean squared error: |a - b|^2 / |b|^2 (|a|^2 itself where b is zero). NaN when any value is.
struct Difference {
  double nmse = 0, max_abs = 0;
};
Difference difference(std::span<const float> found, std::span<const float> expected);

}  // namespace morph::tensor
