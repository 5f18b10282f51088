// A checkpoint: the tensors of one model by name, whatever format its files have. Safetensors (one file, or a folder of
// shards listed by model.safetensors.index.json) or GGUF (one file, or a model split in parts).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/weights/gguf.h"
#include "tensor/weights/mapped_file.h"
#include "tensor/weights/stored_tensor.h"

namespace morph::tensor {

/// An opened checkpoint: maps its files for as long as it, a copy or a part of it lives. Thread-safe once made.
class Checkpoint {
 public:
  /// `path`: a .safetensors or .gguf file, or a folder with model.safetensors(.index.json), the same of
  /// diffusion_pytorch_model, exactly one .safetensors file, or else exactly one GGUF model. Throws Error{weights}.
  static Checkpoint open(const std::filesystem::path& path);

  /// A view of the tensors whose names begin with `prefix`, without it: one component of a composite. Holds the files
  /// open. `where` of each tensor stays whole. May be empty.
  Checkpoint below(std::string_view prefix) const;

  /// Puts one F32 tensor, owned from now on, in the place of those called `old`. Error{weights} when `name` is taken.
  void replace(const std::vector<std::string>& old, const std::string& name, std::vector<std::int64_t> shape,
               std::vector<float> values);

  const std::map<std::string, StoredTensor, std::less<>>& tensors() const { return tensors_; }
  const StoredTensor* find(std::string_view name) const;  ///< null when absent
  const StoredTensor& at(std::string_view name) const;    ///< throws Error{weights}
  const std::filesystem::path& path() const { return path_; }

  bool is_gguf() const { return is_gguf_; }
  /// A GGUF file's metadata, of a split model that of its first part; empty for safetensors.
  const GgufMetadata& metadata() const { return metadata_; }
  /// The files that were opened; for a split GGUF model its parts in order.
  const std::vector<std::filesystem::path>& files() const { return paths_; }
  std::uint64_t file_bytes() const;

 private:
  const MappedFile& map(const std::filesystem::path& file);
  void add(std::vector<StoredTensor> tensors);
  void add_file(const std::filesystem::path& file);
  void add_gguf(const std::filesystem::path& file);
  void add_shards(const std::filesystem::path& index);

  std::filesystem::path path_;
  std::vector<std::filesystem::path> paths_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::vector<std::shared_ptr<const std::vector<float>>> owned_;
  std::map<std::string, StoredTensor, std::less<>> tensors_;
  GgufMetadata metadata_;
  bool is_gguf_ = false;
};

}  // namespace morph::tensor
