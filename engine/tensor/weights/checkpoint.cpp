// Which files a checkpoint is made of, and that each tensor lies in one of them.
#include "tensor/weights/checkpoint.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "base/bounded_json.h"
#include "morph/error.h"
#include "tensor/weights/safetensors.h"

namespace morph::tensor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

[[noreturn]] void refuse(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::weights, where, message + "; the file is damaged or not what it claims to be: fetch it again");
}

json read_index(const fs::path& file) {
  json index = read_bounded_json(file, kVocabularyLimits, ErrorCode::weights);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    refuse(file.string(), "expected JSON with a weight_map of tensor names to files");
  return index["weight_map"];
}

/// A key of a part of a split model; -1 when it is absent or no whole number.
std::int64_t split_key(const GgufMetadata& metadata, std::string_view key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? -1 : found->second.integer().value_or(-1);
}

}  // namespace

Checkpoint Checkpoint::open(const fs::path& path) {
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    checkpoint.add_file(path);
    return checkpoint;
  }
  for (const char* stem : {"model", "diffusion_pytorch_model"}) {
    const fs::path index = path / (std::string(stem) + ".safetensors.index.json");
    if (fs::exists(index, ignored)) {
      checkpoint.add_shards(index);
      return checkpoint;
    }
    const fs::path single = path / (std::string(stem) + ".safetensors");
    if (fs::exists(single, ignored)) {
      checkpoint.add_file(single);
      return checkpoint;
    }
  }
  std::vector<fs::path> found;
  bool gguf = false;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, ignored)) {
    if (entry.path().extension() == ".safetensors") found.push_back(entry.path());
    gguf = gguf || entry.path().extension() == ".gguf";
  }
  if (found.empty() && gguf) found.push_back(find_gguf(path));
  if (found.size() != 1)
    throw Error(ErrorCode::weights, path.string(),
                fmt::format("expected model.safetensors, model.safetensors.index.json, one .safetensors or one .gguf "
                            "file, found {} such files; is the model fetched in full?",
                            found.size()));
  checkpoint.add_file(found.front());
  return checkpoint;
}

const MappedFile& Checkpoint::map(const fs::path& file) {
  files_.push_back(std::make_shared<const MappedFile>(file));
  paths_.push_back(file);
  return *files_.back();
}

void Checkpoint::add(std::vector<StoredTensor> tensors) {
  for (StoredTensor& tensor : tensors) {
    std::string name = tensor.name, where = tensor.where;
    tensor.file = files_.back();
    if (!tensors_.emplace(std::move(name), std::move(tensor)).second)
      refuse(where, "expected each tensor in one file, found it in two");
  }
}

void Checkpoint::add_file(const fs::path& file) {
  const MappedFile& mapped = map(file);
  if (file.extension() == ".gguf" || begins_as_gguf(mapped.bytes()))
    add_gguf(file);
  else
    add(parse_safetensors(mapped.bytes(), file.filename().string()));
}

void Checkpoint::add_gguf(const fs::path& file) {
  is_gguf_ = true;
  GgufContents first = parse_gguf(files_.back()->bytes(), file.filename().string());
  const std::vector<fs::path> parts = gguf_parts(file, first.metadata);
  add(std::move(first.tensors));
  metadata_ = std::move(first.metadata);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const std::string name = parts[i].filename().string();
    GgufContents part = parse_gguf(map(parts[i]).bytes(), name);
    if (split_key(part.metadata, "split.no") != static_cast<std::int64_t>(i) ||
        split_key(part.metadata, "split.count") != static_cast<std::int64_t>(parts.size()))
      refuse(name, fmt::format("expected part {} of {}, found split.no {} and split.count {}", i + 1, parts.size(),
                               split_key(part.metadata, "split.no"), split_key(part.metadata, "split.count")));
    add(std::move(part.tensors));
  }
  const std::int64_t n_claimed = split_key(metadata_, "split.tensors.count");
  if (parts.size() > 1 && n_claimed >= 0 && static_cast<std::uint64_t>(n_claimed) != tensors_.size())
    refuse(file.filename().string(),
           fmt::format("expected {} tensors in all parts together, found {}", n_claimed, tensors_.size()));
}

void Checkpoint::add_shards(const fs::path& index) {
  const json map = read_index(index);
  std::set<std::string> shards;
  for (const auto& [name, file] : map.items()) {
    const std::string shard = file.is_string() ? file.get<std::string>() : "";
    if (shard.empty() || fs::path(shard).filename() != shard || shard == "." || shard == "..")
      refuse(index.string() + "/" + shown_name(name), "expected the name of a file in the same folder");
    shards.insert(shard);
  }
  for (const std::string& shard : shards) add_file(index.parent_path() / shard);
  for (const auto& [name, file] : map.items())
    if (find(name) == nullptr)
      refuse((index.parent_path() / file.get<std::string>() / shown_name(name)).string(),
             "expected the tensor that the index lists, found none");
}

std::uint64_t Checkpoint::file_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& file : files_) bytes += file->bytes().size();
  return bytes;
}

Checkpoint Checkpoint::below(std::string_view prefix) const {
  Checkpoint part;
  part.path_ = path_;
  part.paths_ = paths_;
  part.files_ = files_;
  part.owned_ = owned_;
  part.metadata_ = metadata_;
  part.is_gguf_ = is_gguf_;
  for (auto at = tensors_.lower_bound(prefix); at != tensors_.end() && at->first.starts_with(prefix); ++at) {
    StoredTensor tensor = at->second;
    tensor.name.erase(0, prefix.size());
    part.tensors_.emplace(tensor.name, std::move(tensor));
  }
  return part;
}

void Checkpoint::replace(const std::vector<std::string>& old, const std::string& name, std::vector<std::int64_t> shape,
                         std::vector<float> values) {
  StoredTensor tensor;
  for (const std::string& gone : old)
    if (const auto found = tensors_.find(gone); found != tensors_.end()) {
      tensor.where = found->second.where;
      tensors_.erase(found);
    }
  owned_.push_back(std::make_shared<const std::vector<float>>(std::move(values)));
  tensor.name = name;
  tensor.type = StoredType::f32;
  tensor.shape = std::move(shape);
  tensor.data = std::as_bytes(std::span(*owned_.back()));
  if (!tensors_.emplace(name, std::move(tensor)).second)
    refuse(path_.string() + "/" + shown_name(name), "expected a weight whole or in two parts, found both");
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

const StoredTensor& Checkpoint::at(std::string_view name) const {
  const StoredTensor* tensor = find(name);
  if (tensor == nullptr)
    throw Error(ErrorCode::weights, path_.string() + "/" + shown_name(name), "expected this tensor, found none");
  return *tensor;
}

}  // namespace morph::tensor
