// Safetensors checkpoints: one file, or a folder of shards listed by model.safetensors.index.json.
//
// Format: 8 bytes little-endian header length, JSON {name: {dtype, shape, data_offsets}}, then the data. The header is
// written by whoever made the file, so everything in it is checked against the file before a tensor is handed out.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/weights/mapped_file.h"
#include "tensor/weights/stored_tensor.h"

namespace morph::tensor {

/// Tensors of one file's bytes. `name` is used in errors. Throws Error{weights} naming file and tensor for a header
/// that is too long, not UTF-8 JSON, has duplicate names, unknown dtypes, absurd shapes, or data that overlap, lie
/// outside the file or do not fill it.
std::vector<StoredTensor> parse_safetensors(std::span<const std::byte> bytes, const std::string& name);

/// An opened checkpoint: maps its files for as long as it lives. Immutable, thread-safe.
class Checkpoint {
 public:
  /// `path`: a .safetensors file, or a folder with model.safetensors(.index.json), the same of diffusion_pytorch_model,
  /// or exactly one .safetensors file. Throws Error{weights}.
  static Checkpoint open(const std::filesystem::path& path);

  const std::map<std::string, StoredTensor, std::less<>>& tensors() const { return tensors_; }
  const StoredTensor* find(std::string_view name) const;  ///< null when absent
  const StoredTensor& at(std::string_view name) const;    ///< throws Error{weights}
  const std::filesystem::path& path() const { return path_; }

 private:
  void add(const std::filesystem::path& file);
  void add_shards(const std::filesystem::path& index);

  std::filesystem::path path_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::map<std::string, StoredTensor, std::less<>> tensors_;
};

}  // namespace morph::tensor
