// Name tables: which tensors a family reads, under which published names, in which shapes. Checking a checkpoint
// against one reports everything that is missing, extra or misshapen in a single error.
#pragma once

#include <cstdint>
#include <map>
#include <string>
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

/// One row, or one per layer: "{n_layers}" in both names runs from 0 to dims.at("n_layers") - 1. `shape` is as
/// published, outermost first, of dimension names and numbers: "d_ff d_model". A second shape that is allowed too (a
/// kernel stored with or without a trailing 1) follows after " | ".
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
};

/// `ignored`: published names (with "{...}" as any number) that the family knows and does not read. Throws one
/// Error{weights} that lists every difference.
std::vector<BoundTensor> bind(const Checkpoint& checkpoint, const std::vector<TensorRow>& rows, const Dims& dims,
                              const std::vector<std::string>& ignored = {});

}  // namespace morph::tensor
