// Reader of safetensors headers; see the format's README at huggingface/safetensors. Stricter than needed for honest
// files: the data must be covered exactly, as the reference implementation demands too.
#include "tensor/weights/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "morph/error.h"

namespace morph::tensor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit
constexpr std::size_t kMaxRank = 8;
constexpr std::int64_t kMaxElements = std::int64_t{1} << 48;

[[noreturn]] void refuse(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::weights, where, message + "; the file is damaged or not what it claims to be: fetch it again");
}

/// A name that can be shown: control characters and over-long names are cut.
std::string printable(std::string_view name) {
  std::string shown;
  for (const char c : name.substr(0, 120)) shown += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return name.size() > 120 ? shown + "..." : shown;
}

StoredType parse_type(const std::string& where, const std::string& text) {
  static constexpr StoredType kAll[] = {StoredType::f64,     StoredType::f32, StoredType::f16,    StoredType::bf16,
                                        StoredType::f8_e4m3, StoredType::i64, StoredType::i32,    StoredType::i16,
                                        StoredType::i8,      StoredType::u8,  StoredType::boolean};
  for (const StoredType type : kAll)
    if (to_string(type) == text) return type;
  throw Error(ErrorCode::weights, where,
              fmt::format("expected dtype F64, F32, F16, BF16, F8_E4M3, I64, I32, I16, I8, U8 or BOOL, found '{}'",
                          printable(text)));
}

/// A number of the header that must be a whole number from 0 on.
std::int64_t whole(const json& value, const std::string& where, const char* what) {
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    refuse(where, fmt::format("expected whole numbers in {}, found {}", what,
                              printable(value.dump(-1, ' ', true, json::error_handler_t::replace))));
  return static_cast<std::int64_t>(value.get<std::uint64_t>());
}

StoredTensor parse_entry(const std::string& key, const json& entry, std::span<const std::byte> data,
                         const std::string& file) {
  StoredTensor tensor;
  tensor.name = key;
  tensor.where = file + "/" + printable(key);
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets") ||
      !entry["dtype"].is_string() || !entry["shape"].is_array() || !entry["data_offsets"].is_array())
    refuse(tensor.where, "expected {dtype, shape, data_offsets}");
  tensor.type = parse_type(tensor.where, entry["dtype"].get<std::string>());
  if (entry["shape"].size() > kMaxRank)
    refuse(tensor.where, fmt::format("expected at most {} dimensions, found {}", kMaxRank, entry["shape"].size()));
  std::int64_t elements = 1;
  for (const json& value : entry["shape"]) {
    const std::int64_t d = whole(value, tensor.where, "shape");
    tensor.shape.push_back(d);
    if (d != 0 && elements > kMaxElements / d)
      refuse(tensor.where, "expected a shape of sane size, found one that overflows");
    elements *= d;
  }
  const json& offsets = entry["data_offsets"];
  if (offsets.size() != 2) refuse(tensor.where, "expected two data_offsets");
  const std::int64_t begin = whole(offsets[0], tensor.where, "data_offsets");
  const std::int64_t end = whole(offsets[1], tensor.where, "data_offsets");
  if (begin > end || static_cast<std::uint64_t>(end) > data.size())
    refuse(tensor.where, fmt::format("expected data within {} bytes, found offsets {} to {} (is the file truncated?)",
                                     data.size(), begin, end));
  const std::int64_t bytes = elements * static_cast<std::int64_t>(size_of(tensor.type));
  if (end - begin != bytes)
    refuse(tensor.where, fmt::format("expected {} bytes for {} {}, found {}", bytes, to_string(tensor.type),
                                     shape_text(tensor.shape), end - begin));
  tensor.data = data.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(bytes));
  return tensor;
}

/// JSON with duplicate keys refused at the top level (nlohmann keeps the last one silently).
json parse_header(std::string_view text, const std::string& file) {
  std::set<std::string, std::less<>> seen;
  std::string duplicate;
  int deepest = 0;
  const json::parser_callback_t watch = [&](int depth, json::parse_event_t event, json& value) {
    deepest = std::max(deepest, depth);
    if (event == json::parse_event_t::key && depth == 1 && !seen.insert(value.get<std::string>()).second)
      duplicate = value.get<std::string>();
    return true;
  };
  // A header is three levels deep; refuse deeper ones before the parser builds them.
  int depth = 0;
  bool quoted = false, escaped = false;
  for (const char c : text) {
    if (quoted) {
      if (!escaped && c == '"') quoted = false;
      escaped = !escaped && c == '\\';
      continue;
    }
    if (c == '"') quoted = true;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (depth > 8) refuse(file, "expected a flat header, found one nested more than 8 deep");
  }
  json header = json::parse(text.begin(), text.end(), watch, false);
  if (header.is_discarded()) refuse(file, "expected a header of UTF-8 JSON");
  if (!header.is_object()) refuse(file, "expected a JSON object as header");
  if (!duplicate.empty()) refuse(file + "/" + printable(duplicate), "expected each tensor once, found it twice");
  return header;
}

void check_coverage(std::vector<StoredTensor>& tensors, std::span<const std::byte> data, const std::string& file) {
  std::vector<const StoredTensor*> ordered;
  for (const StoredTensor& tensor : tensors) ordered.push_back(&tensor);
  std::sort(ordered.begin(), ordered.end(), [](const StoredTensor* a, const StoredTensor* b) {
    return a->data.data() != b->data.data() ? a->data.data() < b->data.data() : a->data.size() < b->data.size();
  });
  const std::byte* next = data.data();
  for (const StoredTensor* tensor : ordered) {
    if (tensor->data.data() < next)
      refuse(tensor->where, "expected data of its own, found data that overlap another tensor's");
    if (tensor->data.data() > next)
      refuse(tensor->where,
             fmt::format("expected no gap before it, found {} bytes of no tensor", tensor->data.data() - next));
    next = tensor->data.data() + tensor->data.size();
  }
  if (next != data.data() + data.size())
    refuse(file, fmt::format("expected tensors to fill the file, found {} bytes behind the last one",
                             data.data() + data.size() - next));
}

json read_index(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  json index = json::parse(in, nullptr, false);
  if (index.is_discarded() || !index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    refuse(file.string(), "expected JSON with a weight_map of tensor names to files");
  return index["weight_map"];
}

}  // namespace

std::vector<StoredTensor> parse_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  std::uint64_t header_bytes = 0;
  if (bytes.size() < sizeof(header_bytes))
    refuse(name, fmt::format("expected at least 8 bytes, found {}", bytes.size()));
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  if (header_bytes > kMaxHeader || header_bytes > bytes.size() - sizeof(header_bytes))
    refuse(name, fmt::format("expected a header within the file's {} bytes (and 100 MB), found a length of {}",
                             bytes.size(), header_bytes));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof(header_bytes), header_bytes);
  const std::span<const std::byte> data = bytes.subspan(sizeof(header_bytes) + header_bytes);
  const json header = parse_header(text, name);
  std::vector<StoredTensor> tensors;
  tensors.reserve(header.size());
  for (const auto& [key, entry] : header.items())
    if (key != "__metadata__") tensors.push_back(parse_entry(key, entry, data, name));
  check_coverage(tensors, data, name);
  return tensors;
}

Checkpoint Checkpoint::open(const fs::path& path) {
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    checkpoint.add(path);
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
      checkpoint.add(single);
      return checkpoint;
    }
  }
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, ignored))
    if (entry.path().extension() == ".safetensors") found.push_back(entry.path());
  if (found.size() != 1)
    throw Error(
        ErrorCode::weights, path.string(),
        fmt::format("expected model.safetensors, model.safetensors.index.json or one .safetensors file, found {} "
                    "such files; is the model fetched in full?",
                    found.size()));
  checkpoint.add(found.front());
  return checkpoint;
}

void Checkpoint::add(const fs::path& file) {
  files_.push_back(std::make_unique<MappedFile>(file));
  for (StoredTensor& tensor : parse_safetensors(files_.back()->bytes(), file.filename().string())) {
    std::string name = tensor.name, where = tensor.where;
    if (!tensors_.emplace(std::move(name), std::move(tensor)).second)
      refuse(where, "expected each tensor in one shard, found it in two");
  }
}

void Checkpoint::add_shards(const fs::path& index) {
  const json map = read_index(index);
  std::set<std::string> shards;
  for (const auto& [name, file] : map.items()) {
    const std::string shard = file.is_string() ? file.get<std::string>() : "";
    if (shard.empty() || fs::path(shard).filename() != shard || shard == "." || shard == "..")
      refuse(index.string() + "/" + printable(name), "expected the name of a file in the same folder");
    shards.insert(shard);
  }
  for (const std::string& shard : shards) add(index.parent_path() / shard);
  for (const auto& [name, file] : map.items())
    if (find(name) == nullptr)
      refuse((index.parent_path() / file.get<std::string>() / printable(name)).string(),
             "expected the tensor that the index lists, found none");
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

const StoredTensor& Checkpoint::at(std::string_view name) const {
  const StoredTensor* tensor = find(name);
  if (tensor == nullptr)
    throw Error(ErrorCode::weights, path_.string() + "/" + printable(name), "expected this tensor, found none");
  return *tensor;
}

}  // namespace morph::tensor
