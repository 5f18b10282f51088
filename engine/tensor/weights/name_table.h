// Name tables: which tensors a family reads, under which published names, in which shapes. Checking a checkpoint
// against one reports everything that is missing, extra or misshapen in a single error.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tensor/weights/checkpoint.h"

namespace morph::tensor {

/// What a tensor is for; decides in which type it is kept (StoragePolicy).
enum class Role : std::uint8_t {
  vector,   ///< biases, norms, scales: always F32
  kernel,   ///< convolution kernels
  matrix,   ///< products with many columns at a time: bound by arithmetic
  lookup,   ///< products with one or few columns, and embedding tables: bound by memory
  position  ///< position tables
};

enum class Need : std::uint8_t { required, optional };

/// One row, or one per layer: "{n_layers}" in both names runs from 0 to dims.at("n_layers") - 1. A row may have several
/// indices, outermost first ("up_blocks.{n_blocks}.resnets.{n_resnets}"); both names hold the same ones. "[n_experts]"
/// in the published name runs too, but stacks what it finds into one tensor with one more dimension, outermost.
/// `shape` is as published (of one tensor of a stack), outermost first, of dimension names and numbers: "d_ff d_model".
/// A second shape that is allowed too (a kernel stored with or without a trailing 1) follows after " | ".
/// A dimension may depend on the indices: "n_resnets" is dims["n_resnets.2"] in the third block, where there is such a
/// one, and with two indices dims["ch.2.0"], dims["ch.2"] or dims["ch"].
struct TensorRow {
  std::string local;
  std::string published;
  std::string shape;
  Role role = Role::matrix;
  Need need = Need::required;
};

using Dims = std::map<std::string, std::int64_t, std::less<>>;

/// A row bound to a tensor of a checkpoint.
struct BoundTensor {
  std::string local;
  const StoredTensor* stored = nullptr;
  const StoredTensor* scale_inv = nullptr;  ///< block-scaled F8 only
  Role role = Role::matrix;
  /// Further tensors of a stack, in order, of the same shape as `stored`; each with its scales or null.
  std::vector<std::pair<const StoredTensor*, const StoredTensor*>> stack{};
  bool stacked = false;

  /// As the local tensor is: a stack's number in front.
  std::vector<std::int64_t> shape() const;
  std::int64_t elements() const { return stored->elements() * static_cast<std::int64_t>(1 + stack.size()); }
};

/// `ignored`: published names (with "{...}" as any number, "*" at the end as anything) that the family knows and does
/// not read. Throws one
/// Error{weights} that lists every difference.
std::vector<BoundTensor> bind(const Checkpoint& checkpoint, const std::vector<TensorRow>& rows, const Dims& dims,
                              const std::vector<std::string>& ignored = {});

}  // namespace morph::tensor
