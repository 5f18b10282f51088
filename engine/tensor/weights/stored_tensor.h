// A tensor as it lies in a checkpoint file, before it is converted for a device.
#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace morph::tensor {

class MappedFile;

/// Element types of published checkpoints. Little-endian, as every format we read.
/// `blocks`: a quantised type of ggml; a row is whole blocks
/// of elements that share scales.
enum class StoredType : std::uint8_t { f64, f32, f16, bf16, f8_e4m3, i64, i32, i16, i8, u8, boolean, blocks };

std::string_view to_string(StoredType type);  ///< "F32", "F8_E4M3", ... as in safetensors
std::size_t size_of(StoredType type);         ///< bytes of one element; Error{internal} for blocks

/// A view: the checkpoint that it came from owns the bytes.
struct StoredTensor {
  std::string name;
  StoredType type = StoredType::f32;
  std::vector<std::int64_t> shape;           ///< as published, outermost first; empty = a scalar
  std::span<const std::byte> data;           ///< exactly elements() * size_of(type), or the blocks of its rows
  std::string where;                         ///< "model.safetensors/name", for errors
  ggml_type block_type = GGML_TYPE_COUNT;    ///< of StoredType::blocks
  std::shared_ptr<const MappedFile> file{};  ///< that `data` lies in; null when it lies elsewhere

  std::int64_t elements() const {
    std::int64_t n = 1;
    for (const std::int64_t d : shape) n *= d;
    return n;
  }
};

std::string shape_text(std::span<const std::int64_t> shape);  ///< "[512, 80, 3]"
std::string type_text(const StoredTensor& tensor);            ///< "F16", "q4_K"
/// A name from a file, made fit to be shown: control characters and what is over-long are cut.
std::string shown_name(std::string_view name);

/// Elements first..first+n as F32, written to `out`. Throws Error{weights} when they do not exist, or are of a type
/// that ggml cannot read back.
void unpack(const StoredTensor& tensor, std::int64_t first, std::int64_t n, float* out);
std::vector<float> to_f32(const StoredTensor& tensor);
/// Integer tensors as I64. Throws Error{weights} for a tensor of another kind.
std::vector<std::int64_t> to_i64(const StoredTensor& tensor);

/// F32 of a block-scaled F8_E4M3 matrix [rows, columns] with `scale_inv` [ceil(rows / block), ceil(columns / block)]
/// (published as "<name>_scale_inv"; the block follows from the shapes unless given: 128 in DeepSeek's files).
/// Throws Error{weights} when the shapes do not fit each other.
std::vector<float> unpack_block_fp8(const StoredTensor& tensor, const StoredTensor& scale_inv, std::int64_t block);

}  // namespace morph::tensor
