// WeightSet: a family's weights on a device, by local name, each in the type that its role and the policy say.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "tensor/backend.h"
#include "tensor/weights/name_table.h"

namespace morph::tensor {

/// In which type weights are kept, by role. A row whose length does not fit a quantised type's block is kept in F16.
struct StoragePolicy {
  ggml_type matrix = GGML_TYPE_F32;
  ggml_type lookup = GGML_TYPE_F32;
  ggml_type kernel = GGML_TYPE_F32;
  std::string_view name = "exact";  ///< part of model keys

  /// Everything in F32: what references compute in.
  static StoragePolicy exact() { return {}; }
  /// Arithmetic-bound products in F32 (measured fastest on AVX-512 and AVX2 machines), memory-bound ones in Q8_0.
  static StoragePolicy fast() { return {GGML_TYPE_F32, GGML_TYPE_Q8_0, GGML_TYPE_F32, "fast"}; }
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
  std::size_t bytes() const { return ggml_backend_buffer_get_size(buffer_.get()); }

 private:
  ContextHandle context_;
  BufferHandle buffer_;
  std::map<std::string, ggml_tensor*, std::less<>> named_;
};

/// Bytes that `tensors` will take.
std::size_t weight_bytes(std::span<const BoundTensor> tensors, const StoragePolicy& policy);

}  // namespace morph::tensor
