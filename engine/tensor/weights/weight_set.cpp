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
  if (tensor.role == Role::matrix || tensor.role == Role::lookup) {
    const StoredType stored = tensor.stored->type;
    if (stored == StoredType::blocks && policy.keep_quantised) return tensor.stored->block_type;
    if (stored == StoredType::f16 && policy.keep_halves) return GGML_TYPE_F16;
    if (stored == StoredType::bf16 && policy.keep_halves) return GGML_TYPE_BF16;
  }
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

ggml_type stored_type(const StoredTensor& tensor) {
  switch (tensor.type) {
    case StoredType::f32:
      return GGML_TYPE_F32;
    case StoredType::f16:
      return GGML_TYPE_F16;
    case StoredType::bf16:
      return GGML_TYPE_BF16;
    case StoredType::blocks:
      return tensor.block_type;
    default:
      return GGML_TYPE_COUNT;
  }
}

/// Can the device read the tensor where it lies?
bool can_map(const BoundTensor& tensor, ggml_type type, const Backend& backend) {
  const StoredTensor& stored = *tensor.stored;
  if (tensor.stacked || tensor.scale_inv != nullptr || stored.file == nullptr || stored_type(stored) != type)
    return false;
  if (stored.data.empty() || reinterpret_cast<std::uintptr_t>(stored.data.data()) % sizeof(float) != 0) return false;
  ggml_backend_dev_props properties{};
  ggml_backend_dev_get_props(ggml_backend_get_device(backend.get()), &properties);
  return properties.caps.buffer_from_host_ptr;
}

/// All values, a slice at a time.
void check_all_finite(const StoredTensor& stored, std::vector<float>& floats) {
  for (std::int64_t first = 0; first < stored.elements(); first += kSlice) {
    const std::int64_t n = std::min(kSlice, stored.elements() - first);
    floats.resize(static_cast<std::size_t>(n));
    unpack(stored, first, n, floats.data());
    check_finite(floats, n, stored.where);
  }
}

/// One tensor to `to`, `base` bytes into it.
void upload(const StoredTensor& stored, const StoredTensor* scale_inv, ggml_tensor* to, std::size_t base,
            std::vector<float>& floats, std::vector<std::byte>& packed) {
  const std::int64_t n = stored.elements(), row = to->ne[0];
  if (n == 0) return;
  const std::int64_t rows_at_once = std::max<std::int64_t>(1, kSlice / row), n_rows = n / row;
  std::vector<float> whole;
  if (scale_inv != nullptr) whole = unpack_block_fp8(stored, *scale_inv, kScaleBlock);
  for (std::int64_t first = 0; first < n_rows; first += rows_at_once) {
    const std::int64_t rows = std::min(rows_at_once, n_rows - first), count = rows * row;
    floats.resize(static_cast<std::size_t>(count));
    if (whole.empty())
      unpack(stored, first * row, count, floats.data());
    else
      std::copy_n(whole.begin() + first * row, count, floats.begin());
    check_finite(floats, count, stored.where);
    const std::size_t row_bytes = ggml_row_size(to->type, row), at = static_cast<std::size_t>(first) * row_bytes,
                      offset = base + at;
    if (stored.type == StoredType::blocks && stored.block_type == to->type) {  // as it is
      ggml_backend_tensor_set(to, stored.data.data() + at, offset, static_cast<std::size_t>(rows) * row_bytes);
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
    const std::vector<std::int64_t> shape = tensor.shape();
    std::vector<std::int64_t> ne(shape.rbegin(), shape.rend());
    if (ne.empty()) ne.push_back(1);
    // ggml has four dimensions: a kernel of three axes [d_out, d_in, depth, height, width] joins its outer two.
    for (; ne.size() > GGML_MAX_DIMS; ne.pop_back()) ne[ne.size() - 2] *= ne.back();
    made.push_back(ggml_new_tensor(context_.get(), type_for(tensor, policy), static_cast<int>(ne.size()), ne.data()));
    ggml_set_name(made.back(), tensor.local.c_str());
    named_[tensor.local] = made.back();
  }
  std::size_t n_mapped = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i)
    if (policy.keep_mapped && can_map(tensors[i], made[i]->type, backend)) {
      map(tensors[i], made[i], backend);
      ++n_mapped;
    }
  if (n_mapped < tensors.size()) {
    buffer_ = allocate(context_.get(), backend, "weights");
    ggml_backend_buffer_set_usage(buffer_.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
  }
  std::vector<float> floats;
  std::vector<std::byte> packed;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const BoundTensor& tensor = tensors[i];
    if (made[i]->buffer != buffer_.get()) {  // lies in its file
      check_all_finite(*tensor.stored, floats);
      if (progress) progress(static_cast<double>(i + 1) / static_cast<double>(tensors.size()));
      continue;
    }
    const std::size_t one = ggml_nbytes(made[i]) / (1 + tensor.stack.size());
    upload(*tensor.stored, tensor.scale_inv, made[i], 0, floats, packed);
    release_pages(tensor.stored->data);
    for (std::size_t k = 0; k < tensor.stack.size(); ++k) {
      upload(*tensor.stack[k].first, tensor.stack[k].second, made[i], (k + 1) * one, floats, packed);
      release_pages(tensor.stack[k].first->data);
    }
    if (progress) progress(static_cast<double>(i + 1) / static_cast<double>(tensors.size()));
  }
}

void WeightSet::map(const BoundTensor& tensor, ggml_tensor* made, const Backend& backend) {
  const std::shared_ptr<const MappedFile>& file = tensor.stored->file;
  auto& [owner, buffer] = mapped_[file.get()];
  if (!buffer) {
    owner = file;
    // ggml takes a pointer to what may be written; nothing writes to weights.
    auto* base = const_cast<std::byte*>(file->bytes().data());
    buffer.reset(ggml_backend_dev_buffer_from_host_ptr(ggml_backend_get_device(backend.get()), base,
                                                       file->bytes().size(), file->bytes().size()));
    if (!buffer)
      throw Error(ErrorCode::device, backend.device(), "expected the device to read a mapped file, its driver refused");
    ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
  }
  ggml_backend_tensor_alloc(buffer.get(), made, const_cast<std::byte*>(tensor.stored->data.data()));
  mapped_bytes_ += ggml_nbytes(made);
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

std::string StoragePolicy::about() const {
  std::string kept = keep_halves ? " or as stored" : keep_quantised ? " or as quantised" : "";
  return fmt::format("{}: matrices {}{}, tables {}{}, kernels {}", name, ggml_type_name(matrix), kept,
                     ggml_type_name(lookup), kept, ggml_type_name(kernel));
}

std::size_t weight_bytes(std::span<const BoundTensor> tensors, const StoragePolicy& policy) {
  std::size_t bytes = 0;
  for (const BoundTensor& tensor : tensors) {
    const std::int64_t row = tensor.stored->shape.empty() ? 1 : tensor.stored->shape.back();
    if (row > 0)
      bytes += ggml_row_size(type_for(tensor, policy), row) * static_cast<std::size_t>(tensor.elements() / row) + 32;
  }
  return bytes;
}

}  // namespace morph::tensor
