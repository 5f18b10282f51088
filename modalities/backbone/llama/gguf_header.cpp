// Header checks in front of libllama, which aborts or maps past the end of a file that is shorter than its header says.
#include "llama/gguf_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <system_error>

#include "llama/handles.h"
#include "llama/runtime.h"
#include "morph/error.h"

namespace morph::backbone {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& file, const std::string& message) {
  throw Error(ErrorCode::weights, file.string(), message);
}

void check_magic(const fs::path& file) {
  std::error_code failure;
  const std::uint64_t size = fs::file_size(file, failure);
  if (failure) refuse(file, "expected a GGUF file, found none that can be read (" + failure.message() + ")");
  std::array<char, 8> head{};
  std::ifstream stream(file, std::ios::binary);
  stream.read(head.data(), head.size());
  if (stream.gcount() < 8) refuse(file, fmt::format("expected a GGUF file, found {} bytes; fetch it again", size));
  if (std::string_view(head.data(), 4) != "GGUF")
    refuse(file, "expected a GGUF file (it begins with \"GGUF\"), found another kind of file");
}

GgufHandle open_gguf(const fs::path& file) {
  ensure_runtime();
  check_magic(file);
  gguf_init_params params{};
  params.no_alloc = true;
  GgufHandle gguf(gguf_init_from_file(file.c_str(), params));
  if (!gguf) refuse(file, "expected a whole GGUF header, found a damaged or truncated one; fetch the file again");
  return gguf;
}

void check_tensors(const fs::path& file, const gguf_context* gguf) {
  const std::uint64_t size = fs::file_size(file);
  const std::uint64_t data = gguf_get_data_offset(gguf);
  for (std::int64_t i = 0; i < gguf_get_n_tensors(gguf); ++i) {
    const std::uint64_t offset = gguf_get_tensor_offset(gguf, i), bytes = gguf_get_tensor_size(gguf, i);
    if (data > size || offset > size - data || bytes > size - data - offset)
      refuse(file, fmt::format("expected at least {} bytes (tensor {} ends there), found {}; the file is truncated, "
                               "fetch it again",
                               data + offset + bytes, gguf_get_tensor_name(gguf, i), size));
  }
}

std::optional<std::int64_t> number_at(const gguf_context* gguf, gguf_type type, std::int64_t id, std::size_t index) {
  const bool array = gguf_get_kv_type(gguf, id) == GGUF_TYPE_ARRAY;
  const void* data = array ? gguf_get_arr_data(gguf, id) : gguf_get_val_data(gguf, id);
  switch (type) {
    case GGUF_TYPE_UINT8:
      return static_cast<const std::uint8_t*>(data)[index];
    case GGUF_TYPE_INT8:
      return static_cast<const std::int8_t*>(data)[index];
    case GGUF_TYPE_UINT16:
      return static_cast<const std::uint16_t*>(data)[index];
    case GGUF_TYPE_INT16:
      return static_cast<const std::int16_t*>(data)[index];
    case GGUF_TYPE_UINT32:
      return static_cast<const std::uint32_t*>(data)[index];
    case GGUF_TYPE_INT32:
      return static_cast<const std::int32_t*>(data)[index];
    case GGUF_TYPE_UINT64:
      return static_cast<std::int64_t>(static_cast<const std::uint64_t*>(data)[index]);
    case GGUF_TYPE_INT64:
      return static_cast<const std::int64_t*>(data)[index];
    default:
      return std::nullopt;
  }
}

/// A number, or the numbers of an array; empty when absent or of another type.
std::vector<std::int64_t> numbers(const gguf_context* gguf, const std::string& key) {
  std::vector<std::int64_t> found;
  const std::int64_t id = gguf_find_key(gguf, key.c_str());
  if (id < 0) return found;
  const bool array = gguf_get_kv_type(gguf, id) == GGUF_TYPE_ARRAY;
  const gguf_type type = array ? gguf_get_arr_type(gguf, id) : gguf_get_kv_type(gguf, id);
  if (type == GGUF_TYPE_STRING || type == GGUF_TYPE_ARRAY) return found;
  const std::size_t n = array ? gguf_get_arr_n(gguf, id) : 1;
  for (std::size_t i = 0; i < n; ++i)
    if (const auto value = number_at(gguf, type, id, i)) found.push_back(*value);
  return found;
}

int number(const gguf_context* gguf, const std::string& key, int otherwise) {
  const std::vector<std::int64_t> found = numbers(gguf, key);
  return found.empty() ? otherwise : static_cast<int>(found.front());
}

std::vector<fs::path> split_parts(const fs::path& file, const gguf_context* gguf) {
  const int n_parts = number(gguf, "split.count", 1);
  if (n_parts <= 1) return {file};
  if (n_parts > 10000) refuse(file, fmt::format("expected split.count up to 10000, found {}", n_parts));
  std::array<char, 4096> prefix{};
  if (llama_split_prefix(prefix.data(), prefix.size(), file.c_str(), 0, n_parts) <= 0)
    refuse(file,
           fmt::format("expected the first part of a model split in {} (NAME-00001-of-{:05}.gguf)", n_parts, n_parts));
  std::vector<fs::path> parts;
  for (int i = 0; i < n_parts; ++i) {
    std::array<char, 4096> path{};
    llama_split_path(path.data(), path.size(), prefix.data(), i, n_parts);
    parts.emplace_back(path.data());
  }
  return parts;
}

}  // namespace

fs::path find_gguf(const fs::path& path) {
  std::error_code failure;
  if (!fs::is_directory(path, failure)) return path;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path, failure)) {
    const std::string name = entry.path().filename().string();
    const bool later_part = name.find("-of-") != std::string::npos && name.find("-00001-of-") == std::string::npos;
    if (entry.path().extension() == ".gguf" && !later_part && name.rfind("mmproj", 0) != 0)
      found.push_back(entry.path());
  }
  if (found.size() == 1) return found.front();
  std::sort(found.begin(), found.end());
  std::string names;
  for (const auto& file : found) names += (names.empty() ? "" : ", ") + file.filename().string();
  if (found.empty()) refuse(path, "expected a .gguf file in this folder, found none");
  refuse(path, "expected one .gguf file in this folder, found several (" + names + "); give the path of one");
}

GgufHeader read_gguf_header(const fs::path& file) {
  const GgufHandle gguf = open_gguf(file);
  GgufHeader header;
  header.files = split_parts(file, gguf.get());
  check_tensors(file, gguf.get());
  for (std::size_t i = 1; i < header.files.size(); ++i)
    check_tensors(header.files[i], open_gguf(header.files[i]).get());
  for (const auto& part : header.files) header.file_bytes += fs::file_size(part);

  const std::int64_t id = gguf_find_key(gguf.get(), "general.architecture");
  if (id < 0 || gguf_get_kv_type(gguf.get(), id) != GGUF_TYPE_STRING)
    refuse(file, "expected the key general.architecture, found none: not a language model");
  header.architecture = gguf_get_val_str(gguf.get(), id);
  const std::string a = header.architecture + ".";
  const auto required = [&](const std::string& key, int limit) {
    const int value = number(gguf.get(), a + key, 0);
    if (value < 1 || value > limit)
      refuse(file, fmt::format("expected {}{} between 1 and {}, found {}", a, key, limit, value));
    return value;
  };
  header.n_layer = required("block_count", 4096);
  header.d_model = required("embedding_length", 1 << 20);
  header.n_ctx_train = number(gguf.get(), a + "context_length", 0);
  const std::vector<std::int64_t> heads = numbers(gguf.get(), a + "attention.head_count");
  const int n_head = heads.empty() ? 0 : static_cast<int>(*std::max_element(heads.begin(), heads.end()));
  std::vector<std::int64_t> kv = numbers(gguf.get(), a + "attention.head_count_kv");
  if (kv.empty()) kv = heads;
  for (int layer = 0; layer < header.n_layer && !kv.empty(); ++layer)
    header.n_head_kv.push_back(static_cast<int>(kv[std::min<std::size_t>(layer, kv.size() - 1)]));
  const int d_head = n_head > 0 ? header.d_model / n_head : 0;
  header.d_head_k = number(gguf.get(), a + "attention.key_length", d_head);
  header.d_head_v = number(gguf.get(), a + "attention.value_length", d_head);
  const std::int64_t tokens = gguf_find_key(gguf.get(), "tokenizer.ggml.tokens");
  header.n_vocab = tokens >= 0 && gguf_get_kv_type(gguf.get(), tokens) == GGUF_TYPE_ARRAY
                       ? static_cast<int>(gguf_get_arr_n(gguf.get(), tokens))
                       : number(gguf.get(), a + "vocab_size", 0);
  return header;
}

std::vector<float> read_embedding_rows(const fs::path& file, std::span<const Token> tokens) {
  const GgufHandle gguf = open_gguf(file);
  const std::int64_t id = gguf_find_tensor(gguf.get(), "token_embd.weight");
  if (id < 0) refuse(file, "expected the tensor token_embd.weight, found none");
  const std::int64_t* shape = gguf_get_tensor_ne(gguf.get(), id);
  const ggml_type type = gguf_get_tensor_type(gguf.get(), id);
  const std::size_t d_model = static_cast<std::size_t>(shape[0]), row = ggml_row_size(type, shape[0]);
  const ggml_to_float_t to_float = ggml_get_type_traits(type)->to_float;
  if (type != GGML_TYPE_F32 && to_float == nullptr)
    refuse(file, fmt::format("token_embd.weight is of type {}, which cannot be read", ggml_type_name(type)));
  std::ifstream stream(file, std::ios::binary);
  std::vector<float> rows(d_model * tokens.size());  // [d_model, n_tokens]
  std::vector<char> packed(row);
  const std::uint64_t begin = gguf_get_data_offset(gguf.get()) + gguf_get_tensor_offset(gguf.get(), id);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= shape[1])
      throw Error(ErrorCode::config, "token", fmt::format("expected 0..{}, found {}", shape[1] - 1, tokens[i]));
    stream.seekg(static_cast<std::streamoff>(begin + row * static_cast<std::uint64_t>(tokens[i])));
    stream.read(packed.data(), static_cast<std::streamsize>(row));
    if (!stream) refuse(file, "the file ended inside token_embd.weight; fetch it again");
    float* out = rows.data() + i * d_model;
    if (type == GGML_TYPE_F32)
      std::copy_n(reinterpret_cast<const float*>(packed.data()), d_model, out);
    else
      to_float(packed.data(), out, shape[0]);
  }
  return rows;
}

std::uint64_t cache_bytes(const GgufHeader& header, const SessionOptions& session) {
  const std::uint64_t n_ctx = (static_cast<std::uint64_t>(std::max(session.n_ctx, 1)) + 255) / 256 * 256;
  std::uint64_t per_position = 0;
  for (int heads : header.n_head_kv)
    per_position += static_cast<std::uint64_t>(heads) * static_cast<std::uint64_t>(header.d_head_k + header.d_head_v);
  return n_ctx * per_position * (session.f32_cache ? 4 : 2);
}

}  // namespace morph::backbone
