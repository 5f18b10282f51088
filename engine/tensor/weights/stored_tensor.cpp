// Conversions from the element types of checkpoint files. F8_E4M3 is OCP's "e4m3fn": bias 7, no infinities, NaN = 0x7f.
// Quantised blocks are read by ggml's own functions.
#include "tensor/weights/stored_tensor.h"

#include <fmt/format.h>
#include <ggml.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "morph/error.h"
#include "morph/message.h"

namespace morph::tensor {
namespace {

static_assert(std::endian::native == std::endian::little, "checkpoints are little-endian");

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <class T>
void convert(const std::byte* from, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(load<T>(from + i * static_cast<int>(sizeof(T))));
}

float f8_value(unsigned code) {
  const unsigned exponent = (code >> 3) & 15U, mantissa = code & 7U;
  if ((code & 0x7fU) == 0x7fU) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(static_cast<float>(8 + mantissa), static_cast<int>(exponent) - 10);
  return (code & 0x80U) != 0 ? -magnitude : magnitude;
}

std::array<float, 256> f8_table() {
  std::array<float, 256> table{};
  for (unsigned i = 0; i < 256; ++i) table[i] = f8_value(i);
  return table;
}

void unpack_bytes(StoredType type, const std::byte* from, std::int64_t n, float* out) {
  switch (type) {
    case StoredType::f64:
      return convert<double>(from, n, out);
    case StoredType::f32:
      std::memcpy(out, from, static_cast<std::size_t>(n) * sizeof(float));
      return;
    case StoredType::f16:
    case StoredType::bf16: {
      // The rows may lie at odd addresses; ggml's converters want aligned ones.
      std::array<std::uint16_t, 1024> chunk;
      for (std::int64_t done = 0; done < n; done += 1024) {
        const std::int64_t part = std::min<std::int64_t>(1024, n - done);
        std::memcpy(chunk.data(), from + done * 2, static_cast<std::size_t>(part) * 2);
        if (type == StoredType::f16)
          ggml_fp16_to_fp32_row(chunk.data(), out + done, part);
        else
          for (std::int64_t i = 0; i < part; ++i)
            out[done + i] = std::bit_cast<float>(static_cast<std::uint32_t>(chunk[static_cast<std::size_t>(i)]) << 16);
      }
      return;
    }
    case StoredType::f8_e4m3: {
      const std::array<float, 256> table = f8_table();
      for (std::int64_t i = 0; i < n; ++i) out[i] = table[std::to_integer<unsigned>(from[i])];
      return;
    }
    case StoredType::i64:
      return convert<std::int64_t>(from, n, out);
    case StoredType::i32:
      return convert<std::int32_t>(from, n, out);
    case StoredType::i16:
      return convert<std::int16_t>(from, n, out);
    case StoredType::i8:
      return convert<std::int8_t>(from, n, out);
    case StoredType::u8:
    case StoredType::boolean:
      return convert<std::uint8_t>(from, n, out);
    case StoredType::blocks:
      break;  // unpack_blocks
  }
}

/// A range may begin and end inside a block. Blocks are copied first: in the file they may lie at odd addresses.
void unpack_blocks(const StoredTensor& tensor, std::int64_t first, std::int64_t n, float* out) {
  constexpr std::int64_t kBlocks = 32;
  const auto to_float = ggml_get_type_traits(tensor.block_type)->to_float;
  if (to_float == nullptr)
    throw Error(ErrorCode::weights, tensor.where,
                fmt::format("expected a type that ggml can read back, found {}", type_text(tensor)));
  const std::int64_t per_block = ggml_blck_size(tensor.block_type);
  const std::size_t block_bytes = ggml_type_size(tensor.block_type);
  std::vector<std::max_align_t> packed((static_cast<std::size_t>(kBlocks) * block_bytes) / sizeof(std::max_align_t) +
                                       1);
  std::vector<float> values(static_cast<std::size_t>(kBlocks * per_block));
  const std::int64_t end = first + n;
  for (std::int64_t block = first / per_block; block * per_block < end; block += kBlocks) {
    const std::int64_t blocks = std::min(kBlocks, (end + per_block - 1) / per_block - block);
    std::memcpy(packed.data(), tensor.data.data() + static_cast<std::size_t>(block) * block_bytes,
                static_cast<std::size_t>(blocks) * block_bytes);
    to_float(packed.data(), values.data(), blocks * per_block);
    const std::int64_t from = std::max(first, block * per_block), to = std::min(end, (block + blocks) * per_block);
    std::copy_n(values.begin() + (from - block * per_block), to - from, out + (from - first));
  }
}

}  // namespace

std::string_view to_string(StoredType type) {
  switch (type) {
    case StoredType::f64:
      return "F64";
    case StoredType::f32:
      return "F32";
    case StoredType::f16:
      return "F16";
    case StoredType::bf16:
      return "BF16";
    case StoredType::f8_e4m3:
      return "F8_E4M3";
    case StoredType::i64:
      return "I64";
    case StoredType::i32:
      return "I32";
    case StoredType::i16:
      return "I16";
    case StoredType::i8:
      return "I8";
    case StoredType::u8:
      return "U8";
    case StoredType::boolean:
      return "BOOL";
    case StoredType::blocks:
      return "blocks";
  }
  return "?";
}

std::size_t size_of(StoredType type) {
  switch (type) {
    case StoredType::f64:
    case StoredType::i64:
      return 8;
    case StoredType::f32:
    case StoredType::i32:
      return 4;
    case StoredType::f16:
    case StoredType::bf16:
    case StoredType::i16:
      return 2;
    case StoredType::blocks:
      throw Error(ErrorCode::internal, "tensor/stored_tensor", "elements of a block have no size of their own");
    default:
      return 1;
  }
}

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

std::string type_text(const StoredTensor& tensor) {
  return tensor.type == StoredType::blocks ? ggml_type_name(tensor.block_type) : std::string(to_string(tensor.type));
}

std::string shown_name(std::string_view name) {
  const std::string shown = shown_text(name.substr(0, 120));
  return name.size() > 120 ? shown + "..." : shown;
}

void unpack(const StoredTensor& tensor, std::int64_t first, std::int64_t n, float* out) {
  if (first < 0 || n < 0 || first > tensor.elements() - n)
    throw Error(ErrorCode::weights, tensor.where,
                fmt::format("expected elements {} to {}, found {}", first, first + n, tensor.elements()));
  if (n == 0) return;
  if (tensor.type == StoredType::blocks) return unpack_blocks(tensor, first, n, out);
  unpack_bytes(tensor.type, tensor.data.data() + static_cast<std::size_t>(first) * size_of(tensor.type), n, out);
}

std::vector<float> to_f32(const StoredTensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  unpack(tensor, 0, tensor.elements(), values.data());
  return values;
}

std::vector<std::int64_t> to_i64(const StoredTensor& tensor) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(tensor.elements()));
  const std::byte* from = tensor.data.data();
  for (std::size_t i = 0; i < values.size(); ++i) switch (tensor.type) {
      case StoredType::i64:
        values[i] = load<std::int64_t>(from + i * 8);
        break;
      case StoredType::i32:
        values[i] = load<std::int32_t>(from + i * 4);
        break;
      case StoredType::i16:
        values[i] = load<std::int16_t>(from + i * 2);
        break;
      case StoredType::i8:
        values[i] = load<std::int8_t>(from + i);
        break;
      case StoredType::u8:
      case StoredType::boolean:
        values[i] = load<std::uint8_t>(from + i);
        break;
      default:
        throw Error(ErrorCode::weights, tensor.where,
                    fmt::format("expected whole numbers, found {}", type_text(tensor)));
    }
  return values;
}

std::vector<float> unpack_block_fp8(const StoredTensor& tensor, const StoredTensor& scale_inv, std::int64_t block) {
  const auto fits = [&](std::size_t axis) { return (tensor.shape[axis] + block - 1) / block == scale_inv.shape[axis]; };
  if (tensor.type != StoredType::f8_e4m3 || tensor.shape.size() != 2 || scale_inv.shape.size() != 2 || block <= 0 ||
      !fits(0) || !fits(1))
    throw Error(
        ErrorCode::weights, tensor.where,
        fmt::format("expected an F8_E4M3 matrix with a scale for each {0}x{0} block, found {1} {2} with scales {3}",
                    block, type_text(tensor), shape_text(tensor.shape), shape_text(scale_inv.shape)));
  std::vector<float> values = to_f32(tensor);
  const std::vector<float> scales = to_f32(scale_inv);
  const std::int64_t rows = tensor.shape[0], columns = tensor.shape[1], per_row = scale_inv.shape[1];
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c)
      values[static_cast<std::size_t>(r * columns + c)] *=
          scales[static_cast<std::size_t>((r / block) * per_row + c / block)];
  return values;
}

}  // namespace morph::tensor
