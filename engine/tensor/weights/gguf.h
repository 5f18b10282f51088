// The GGUF format (ggml/docs/gguf.md), versions 2 and 3: magic, version, counts; metadata (key, type, value); tensor
// descriptions; padding; the data. As with safetensors, every count, length and offset is checked against the file
// before anything is allocated or handed out. Values are views: a vocabulary of any size costs nothing until asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/weights/stored_tensor.h"

namespace morph::tensor {

/// Types of metadata, numbered as in the file.
enum class GgufType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

std::string_view to_string(GgufType type);  ///< "u8", "string", ...

/// A value of the metadata: a view of bytes that were checked when the file was parsed and that the file owns.
class GgufValue {
 public:
  GgufValue(GgufType type, GgufType element, std::uint64_t size, std::span<const std::byte> bytes)
      : type_(type), element_(element), size_(size), bytes_(bytes) {}

  GgufType type() const { return type_; }
  GgufType element_type() const { return element_; }  ///< of an array's elements; type() for others
  std::uint64_t size() const { return size_; }        ///< elements of an array; 1 for others

  // One value. Empty when it is of another kind.
  std::optional<std::int64_t> integer() const;  ///< a whole number or truth value that fits
  std::optional<double> number() const;         ///< any number
  std::optional<std::string_view> text() const;

  // An array's elements, or the one value. Empty when they are of another kind.
  std::optional<std::vector<std::int64_t>> integers() const;
  std::optional<std::vector<double>> numbers() const;
  std::optional<std::vector<std::string_view>> texts() const;

  /// The elements of an array (of arrays, too), each as a value; this value alone when it is no array.
  std::vector<GgufValue> items() const;

 private:
  GgufType type_, element_;
  std::uint64_t size_;
  std::span<const std::byte> bytes_;  ///< of a string its characters, of an array its elements as in the file
};

using GgufMetadata = std::map<std::string, GgufValue, std::less<>>;

struct GgufContents {
  std::uint32_t version = 0;
  std::uint64_t alignment = 32;
  GgufMetadata metadata;              ///< views of the bytes that were parsed
  std::vector<StoredTensor> tensors;  ///< in the file's order; shapes outermost first, without leading ones
};

/// What one file's bytes hold. `name` is used in errors. Throws Error{weights} naming file and key or tensor for
/// another format, a big-endian file, a version other than 2 or 3, counts, lengths or offsets that the file cannot
/// hold, duplicate or over-long names, unknown types, shapes that are absurd or do not fit their type's blocks, data
/// that do not follow each other as the alignment says, or lie outside the file.
GgufContents parse_gguf(std::span<const std::byte> bytes, const std::string& name);

/// True when the bytes begin as a GGUF file does.
bool begins_as_gguf(std::span<const std::byte> bytes);

/// The GGUF file meant by `path` (a file, or a folder holding one model, of which projectors, "mmproj*", do not count).
/// Throws Error{weights} when a folder holds none or several.
std::filesystem::path find_gguf(const std::filesystem::path& path);

/// All parts of the model that `file` is (the first part of): {file} when it is whole, else NAME-00001-of-00003.gguf
/// and so on. Throws Error{weights} when the name is not that of a first part.
std::vector<std::filesystem::path> gguf_parts(const std::filesystem::path& file, const GgufMetadata& metadata);

}  // namespace morph::tensor
