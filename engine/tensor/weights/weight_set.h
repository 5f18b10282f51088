// WeightSet: a family's weights on a device, by local name, each in the type that its role and the policy say.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "tensor/backend.h"
#include "tensor/weights/name_table.h"

namespace morph::tensor {

/// In which type weights are kept, by role; the one place where it is decided. A row whose length does not fit a
/// quantised type's block is kept in F16. Biases, norms and positions are always F32.
struct StoragePolicy {
  ggml_type matrix = GGML_TYPE_F32;
  ggml_type lookup = GGML_TYPE_F32;
  ggml_type kernel = GGML_TYPE_F32;
  std::string_view name = "exact";  ///< part of model keys
  /// Matrices and tables that the file holds quantised stay as they are, whatever `matrix` and `lookup` say.
  bool keep_quantised = false;
  /// Those in F16 and BF16 too.
  bool keep_halves = false;
  /// What is kept in its stored type is read from the mapped file where the device can, and not copied.
  bool keep_mapped = false;
  /// Largest nmse against an F32 reference that `morph verify` lets pass: F32's own error, or that of 8-bit blocks.
  double tolerance = 1e-6;

  /// Everything in F32: what references compute in.
  static StoragePolicy exact() { return {}; }
  /// As published: what is stored in 16 bits or in blocks stays so. Kernels of convolutions become F32.
  static StoragePolicy stored() {
    return {GGML_TYPE_F32, GGML_TYPE_F32, GGML_TYPE_F32, "stored", true, true, true, 1e-4};
  }
  /// Arithmetic-bound products in F32 (measured fastest on AVX-512 and AVX2 machines), memory-bound ones in Q8_0.
  static StoragePolicy fast() {
    return {GGML_TYPE_F32, GGML_TYPE_Q8_0, GGML_TYPE_F32, "fast", true, false, false, 1e-3};
  }

  /// "fast: matrices F32, tables Q8_0, kernels F32": what a row of `morph verify` says ran.
  std::string about() const;
};

/// Immutable once loaded; thread-safe.
class WeightSet {
 public:
  /// Converts and uploads every bound tensor. Throws Error{weights} for values that are NaN or infinite,
  /// Error{resource} when memory is short. `progress` may be empty.
  WeightSet(std::span<const BoundTensor> tensors, const StoragePolicy& policy, const Backend& backend,
            const std::function<void(double fraction)>& progress = {});

  /// Shape reversed to ggml's order. Error{internal} for a name that is not in the table.
  ggml_tensor* at(std::string_view local) const;
  ggml_tensor* find(std::string_view local) const;  ///< null for an optional one that is absent
  /// Memory of its own; what stays in mapped files is not in it.
  std::size_t bytes() const { return buffer_ ? ggml_backend_buffer_get_size(buffer_.get()) : 0; }
  std::size_t mapped_bytes() const { return mapped_bytes_; }

 private:
  void map(const BoundTensor& tensor, ggml_tensor* made, const Backend& backend);

  std::map<const MappedFile*, std::pair<std::shared_ptr<const MappedFile>, BufferHandle>> mapped_;
  std::size_t mapped_bytes_ = 0;
  ContextHandle context_;
  BufferHandle buffer_;
  std::map<std::string, ggml_tensor*, std::less<>> named_;
};

/// Bytes that `tensors` will take.
std::size_t weight_bytes(std::span<const BoundTensor> tensors, const StoragePolicy& policy);

}  // namespace morph::tensor
