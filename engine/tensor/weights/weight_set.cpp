// Tensors are converted in slices of rows, so that loading needs little memory beyond the weights themselves.
#include "tensor/weights/weight_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "morph/error.h"
#include "tensor/weights/mapped_file.h"

namespace morph::tensor {
namespace {

constexpr std::int64_t kSlice = 1 << 18;  // elements converted at a time
constexpr std::int64_t kScaleBlock = 128;

ggml_type type_for(const BoundTensor& tensor, const StoragePolicy& policy) {
  ggml_type type = GGML_TYPE_F32;
  if (tensor.role == Role::matrix) type = policy.matrix;
  if (tensor.role == Role::lookup) type = policy.lookup;
  if (tensor.role == Role::kernel) type = policy.kernel;
  const std::int64_t row = tensor.stored->shape.empty() ? 1 : tensor.stored->shape.back();
  return row % ggml_blck_size(type) == 0 ? type : GGML_TYPE_F16;
}

void check_finite(const std::vector<float>& values, std::int64_t n, const std::string& where) {
  // 0 * x is NaN exactly for NaN and infinity, and a sum of zeros vectorises.
  float sum = 0.0f;
  for (std::int64_t i = 0; i < n; ++i) sum += 0.0f * values[static_cast<std::size_t>(i)];
  if (!(sum == 0.0f))
    throw Error(ErrorCode::weights, where, "expected finite values, found NaN or infinity; the checkpoint is damaged");
}

void upload(const BoundTensor& tensor, ggml_tensor* to, std::vector<float>& floats, std::vector<std::byte>& packed) {
  const std::int64_t n = ggml_nelements(to), row = to->ne[0];
  if (n == 0) return;
  const std::int64_t rows_at_once = std::max<std::int64_t>(1, kSlice / row), n_rows = n / row;
  std::vector<float> whole;
  if (tensor.scale_inv != nullptr) whole = unpack_block_fp8(*tensor.stored, *tensor.scale_inv, kScaleBlock);
  for (std::int64_t first = 0; first < n_rows; first += rows_at_once) {
    const std::int64_t rows = std::min(rows_at_once, n_rows - first), count = rows * row;
    floats.resize(static_cast<std::size_t>(count));
    if (whole.empty())
      unpack(*tensor.stored, first * row, count, floats.data());
    else
      std::copy_n(whole.begin() + first * row, count, floats.begin());
    check_finite(floats, count, tensor.stored->where);
    const std::size_t row_bytes = ggml_row_size(to->type, row), offset = static_cast<std::size_t>(first) * row_bytes;
    if (tensor.stored->type == StoredType::blocks && tensor.stored->block_type == to->type) {  // as it is
      ggml_backend_tensor_set(to, tensor.stored->data.data() + offset, offset,
                              static_cast<std::size_t>(rows) * row_bytes);
      continue;
    }
    if (to->type == GGML_TYPE_F32) {
      ggml_backend_tensor_set(to, floats.data(), offset, static_cast<std::size_t>(count) * sizeof(float));
      continue;
    }
    packed.resize(static_cast<std::size_t>(rows) * row_bytes);
    ggml_quantize_chunk(to->type, floats.data(), packed.data(), 0, rows, row, nullptr);
    ggml_backend_tensor_set(to, packed.data(), offset, packed.size());
  }
}

}  // namespace

WeightSet::WeightSet(std::span<const BoundTensor> tensors, const StoragePolicy& policy, const Backend& backend,
                     const std::function<void(double fraction)>& progress)
    : context_(make_context(tensors.size() + 1)) {
  std::vector<ggml_tensor*> made;
  for (const BoundTensor& tensor : tensors) {
    std::vector<std::int64_t> ne(tensor.stored->shape.rbegin(), tensor.stored->shape.rend());
    if (ne.empty()) ne.push_back(1);
    if (ne.size() > GGML_MAX_DIMS)
      throw Error(ErrorCode::weights, tensor.stored->where, "expected at most 4 dimensions, found more");
    made.push_back(ggml_new_tensor(context_.get(), type_for(tensor, policy), static_cast<int>(ne.size()), ne.data()));
    ggml_set_name(made.back(), tensor.local.c_str());
    named_[tensor.local] = made.back();
  }
  buffer_ = allocate(context_.get(), backend, "weights");
  ggml_backend_buffer_set_usage(buffer_.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
  std::vector<float> floats;
  std::vector<std::byte> packed;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    upload(tensors[i], made[i], floats, packed);
    release_pages(tensors[i].stored->data);
    if (progress) progress(static_cast<double>(i + 1) / static_cast<double>(tensors.size()));
  }
}

ggml_tensor* WeightSet::find(std::string_view local) const {
  const auto found = named_.find(local);
  return found == named_.end() ? nullptr : found->second;
}

ggml_tensor* WeightSet::at(std::string_view local) const {
  ggml_tensor* tensor = find(local);
  if (tensor == nullptr)
    throw Error(ErrorCode::internal, "tensor/weights", fmt::format("no weight is called '{}'", local));
  return tensor;
}

std::size_t weight_bytes(std::span<const BoundTensor> tensors, const StoragePolicy& policy) {
  std::size_t bytes = 0;
  for (const BoundTensor& tensor : tensors) {
    const std::int64_t row = tensor.stored->shape.empty() ? 1 : tensor.stored->shape.back();
    if (row > 0)
      bytes +=
          ggml_row_size(type_for(tensor, policy), row) * static_cast<std::size_t>(tensor.stored->elements() / row) + 32;
  }
  return bytes;
}

}  // namespace morph::tensor
