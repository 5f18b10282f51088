// Reader of GGUF files; see gguf.h. Stricter than the format's text where libllama is too: tensors follow each other
// without gaps beyond the padding, in the order of their descriptions.
#include "tensor/weights/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>
#include <system_error>
#include <type_traits>

#include "morph/error.h"

namespace morph::tensor {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxKeys = 1 << 16, kMaxTensors = 1 << 20;
constexpr std::uint64_t kMaxKeyBytes = 65535, kMaxNameBytes = 1024;
constexpr std::uint64_t kMaxAlignment = 1 << 20;
constexpr std::int64_t kMaxElements = std::int64_t{1} << 48;
constexpr std::uint32_t kMaxRank = GGML_MAX_DIMS;
constexpr int kMaxDepth = 4;  // arrays of arrays
constexpr std::int64_t kMaxParts = 10000;

[[noreturn]] void refuse(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::weights, where, message + "; the file is damaged or not what it claims to be: fetch it again");
}

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

/// Bytes of a value of fixed size; 0 for strings and arrays.
std::size_t fixed_size(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::string:
    case GgufType::array:
      return 0;
  }
  return 0;
}

/// Walks through the bytes; whatever is taken was there.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t at() const { return at_; }
  std::uint64_t left() const { return bytes_.size() - at_; }

  std::span<const std::byte> take(std::uint64_t n, const std::string& where, const char* what) {
    if (n > left())
      refuse(where, fmt::format("expected {} bytes of {}, found the end of the file after {} (is it truncated?)", n,
                                what, left()));
    const auto taken = bytes_.subspan(at_, static_cast<std::size_t>(n));
    at_ += static_cast<std::size_t>(n);
    return taken;
  }
  template <class T>
  T number(const std::string& where, const char* what) {
    return load<T>(take(sizeof(T), where, what).data());
  }
  std::string_view text(std::uint64_t limit, const std::string& where, const char* what) {
    const auto length = number<std::uint64_t>(where, what);
    if (length > limit) refuse(where, fmt::format("expected a {} of at most {} bytes, found {}", what, limit, length));
    const auto taken = take(length, where, what);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();  // but the file's own length

GgufType read_type(Cursor& cursor, const std::string& where) {
  const auto type = cursor.number<std::uint32_t>(where, "a value's type");
  if (type > static_cast<std::uint32_t>(GgufType::f64))
    refuse(where, fmt::format("expected a value type from 0 to 12, found {}", type));
  return static_cast<GgufType>(type);
}

void check_booleans(std::span<const std::byte> bytes, const std::string& where) {
  for (const std::byte value : bytes)
    if (std::to_integer<unsigned>(value) > 1)
      refuse(where, fmt::format("expected truth values of 0 or 1, found {}", std::to_integer<unsigned>(value)));
}

GgufValue read_value(Cursor& cursor, std::span<const std::byte> file, GgufType type, const std::string& where,
                     int depth) {
  if (type == GgufType::string) {
    const std::string_view text = cursor.text(kNoLimit, where, "string");
    return {type, type, 1, std::as_bytes(std::span(text))};
  }
  if (type != GgufType::array) {
    const auto bytes = cursor.take(fixed_size(type), where, "a value");
    if (type == GgufType::boolean) check_booleans(bytes, where);
    return {type, type, 1, bytes};
  }
  if (depth == kMaxDepth) refuse(where, fmt::format("expected arrays nested at most {} deep, found more", kMaxDepth));
  const GgufType element = read_type(cursor, where);
  const auto n = cursor.number<std::uint64_t>(where, "an array's length");
  // The least that an element takes: its size, a string's length, an array's type and length.
  const std::uint64_t least = element == GgufType::string ? 8 : element == GgufType::array ? 12 : fixed_size(element);
  if (n > cursor.left() / least)
    refuse(where, fmt::format("expected an array within the file's {} remaining bytes, found {} elements of {} "
                              "(is it truncated?)",
                              cursor.left(), n, to_string(element)));
  const std::size_t begin = cursor.at();
  if (fixed_size(element) != 0) {
    const auto bytes = cursor.take(n * fixed_size(element), where, "an array");
    if (element == GgufType::boolean) check_booleans(bytes, where);
  } else {
    for (std::uint64_t i = 0; i < n; ++i) read_value(cursor, file, element, where, depth + 1);
  }
  return {type, element, n, file.subspan(begin, cursor.at() - begin)};
}

void read_metadata(Cursor& cursor, std::span<const std::byte> bytes, std::uint64_t n, const std::string& name,
                   GgufContents& contents) {
  for (std::uint64_t i = 0; i < n; ++i) {
    std::string key(cursor.text(kMaxKeyBytes, fmt::format("{}/key {}", name, i), "key"));
    const std::string where = name + "/" + shown_name(key);
    if (key.empty()) refuse(fmt::format("{}/key {}", name, i), "expected a key, found an empty one");
    const GgufType type = read_type(cursor, where);
    GgufValue value = read_value(cursor, bytes, type, where, 0);
    if (!contents.metadata.emplace(std::move(key), value).second)
      refuse(where, "expected each key once, found it twice");
  }
  const auto found = contents.metadata.find("general.alignment");
  if (found == contents.metadata.end()) return;
  const auto alignment = found->second.integer().value_or(0);
  if (found->second.type() != GgufType::u32 || alignment < 1 || static_cast<std::uint64_t>(alignment) > kMaxAlignment ||
      (alignment & (alignment - 1)) != 0)
    refuse(name + "/general.alignment", fmt::format("expected a u32 that is a power of two up to {}, found {} {}",
                                                    kMaxAlignment, to_string(found->second.type()), alignment));
  contents.alignment = static_cast<std::uint64_t>(alignment);
}

void set_type(StoredTensor& tensor, std::uint32_t type) {
  switch (type) {
    case GGML_TYPE_F32:
      tensor.type = StoredType::f32;
      return;
    case GGML_TYPE_F16:
      tensor.type = StoredType::f16;
      return;
    case GGML_TYPE_BF16:
      tensor.type = StoredType::bf16;
      return;
    case GGML_TYPE_F64:
      tensor.type = StoredType::f64;
      return;
    case GGML_TYPE_I8:
      tensor.type = StoredType::i8;
      return;
    case GGML_TYPE_I16:
      tensor.type = StoredType::i16;
      return;
    case GGML_TYPE_I32:
      tensor.type = StoredType::i32;
      return;
    case GGML_TYPE_I64:
      tensor.type = StoredType::i64;
      return;
    default:
      break;
  }
  if (type >= GGML_TYPE_COUNT || ggml_blck_size(static_cast<ggml_type>(type)) <= 0 ||
      ggml_type_size(static_cast<ggml_type>(type)) == 0)
    throw Error(ErrorCode::weights, tensor.where,
                fmt::format("expected a tensor type that ggml knows, found number {}; the file is damaged, or made by "
                            "a newer program or one with types of its own",
                            type));
  tensor.type = StoredType::blocks;
  tensor.block_type = static_cast<ggml_type>(type);
}

std::uint64_t bytes_of(const StoredTensor& tensor) {
  const auto elements = static_cast<std::uint64_t>(tensor.elements());
  if (tensor.type != StoredType::blocks) return elements * size_of(tensor.type);
  return elements / static_cast<std::uint64_t>(ggml_blck_size(tensor.block_type)) * ggml_type_size(tensor.block_type);
}

/// One description; the tensor's place in the data goes to `offset`.
StoredTensor read_tensor(Cursor& cursor, const std::string& file, std::uint64_t index, std::uint64_t& offset) {
  StoredTensor tensor;
  tensor.where = fmt::format("{}/tensor {}", file, index);
  tensor.name = cursor.text(kMaxNameBytes, tensor.where, "tensor name");
  if (tensor.name.empty()) refuse(tensor.where, "expected a tensor's name, found an empty one");
  tensor.where = file + "/" + shown_name(tensor.name);
  const auto rank = cursor.number<std::uint32_t>(tensor.where, "a tensor's rank");
  if (rank > kMaxRank) refuse(tensor.where, fmt::format("expected at most {} dimensions, found {}", kMaxRank, rank));
  std::int64_t elements = 1;
  for (std::uint32_t i = 0; i < rank; ++i) {
    const auto d = cursor.number<std::int64_t>(tensor.where, "a tensor's shape");
    if (d < 0 || (d != 0 && elements > kMaxElements / d))
      refuse(tensor.where, fmt::format("expected a shape of at most 2^48 elements, found a dimension of {}", d));
    elements *= std::max<std::int64_t>(d, 1);  // an empty tensor's other dimensions are bounded, too
    tensor.shape.push_back(d);
  }
  const std::int64_t row = tensor.shape.empty() ? 1 : tensor.shape.front();
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  while (tensor.shape.size() > 1 && tensor.shape.front() == 1) tensor.shape.erase(tensor.shape.begin());
  set_type(tensor, cursor.number<std::uint32_t>(tensor.where, "a tensor's type"));
  if (tensor.type == StoredType::blocks && row % ggml_blck_size(tensor.block_type) != 0)
    refuse(tensor.where, fmt::format("expected rows of whole blocks of {} elements ({}), found rows of {}",
                                     ggml_blck_size(tensor.block_type), type_text(tensor), row));
  offset = cursor.number<std::uint64_t>(tensor.where, "a tensor's offset");
  return tensor;
}

void read_tensors(Cursor& cursor, std::span<const std::byte> bytes, std::uint64_t n, const std::string& name,
                  GgufContents& contents) {
  std::vector<std::uint64_t> offsets(static_cast<std::size_t>(n));
  contents.tensors.reserve(static_cast<std::size_t>(n));
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < n; ++i) {
    contents.tensors.push_back(read_tensor(cursor, name, i, offsets[i]));
    if (!names.insert(contents.tensors.back().name).second)
      refuse(contents.tensors.back().where, "expected each tensor once, found it twice");
  }
  const std::uint64_t a = contents.alignment;
  if (n == 0) return;
  const std::uint64_t begin = (cursor.at() + a - 1) / a * a;
  if (begin > bytes.size()) refuse(name, "expected the tensors' data, found the end of the file (is it truncated?)");
  const auto data = bytes.subspan(static_cast<std::size_t>(begin));
  std::uint64_t next = 0;  // below 2^20 tensors * 2^51 bytes, each checked to be within the file first
  for (std::size_t i = 0; i < n; ++i) {
    StoredTensor& tensor = contents.tensors[i];
    if (offsets[i] != next)
      refuse(tensor.where, fmt::format("expected its data at offset {}, behind the tensor before, found offset {}",
                                       next, offsets[i]));
    const std::uint64_t size = bytes_of(tensor);
    if (next > data.size() || size > data.size() - next)
      refuse(tensor.where, fmt::format("expected {} bytes of {} {} at offset {}, found a file that holds {} (it is "
                                       "truncated)",
                                       size, type_text(tensor), shape_text(tensor.shape), next, data.size()));
    tensor.data = data.subspan(static_cast<std::size_t>(next), static_cast<std::size_t>(size));
    next += (size + a - 1) / a * a;
  }
}

template <class T, class Out>
bool fits(T value, Out& out) {
  if constexpr (std::is_same_v<T, std::uint64_t>)
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return false;
  out = static_cast<Out>(value);
  return true;
}

/// The whole number of `type` at `at`; false when it is of another kind or too large.
bool integer_at(GgufType type, const std::byte* at, std::int64_t& out) {
  switch (type) {
    case GgufType::u8:
    case GgufType::boolean:
      return fits(load<std::uint8_t>(at), out);
    case GgufType::i8:
      return fits(load<std::int8_t>(at), out);
    case GgufType::u16:
      return fits(load<std::uint16_t>(at), out);
    case GgufType::i16:
      return fits(load<std::int16_t>(at), out);
    case GgufType::u32:
      return fits(load<std::uint32_t>(at), out);
    case GgufType::i32:
      return fits(load<std::int32_t>(at), out);
    case GgufType::u64:
      return fits(load<std::uint64_t>(at), out);
    case GgufType::i64:
      return fits(load<std::int64_t>(at), out);
    default:
      return false;
  }
}

bool number_at(GgufType type, const std::byte* at, double& out) {
  if (type == GgufType::f32) out = load<float>(at);
  if (type == GgufType::f64) out = load<double>(at);
  if (type == GgufType::u64) out = static_cast<double>(load<std::uint64_t>(at));
  if (type == GgufType::f32 || type == GgufType::f64 || type == GgufType::u64) return true;
  std::int64_t whole = 0;
  if (type == GgufType::boolean || !integer_at(type, at, whole)) return false;
  out = static_cast<double>(whole);
  return true;
}

template <class T, class Read>
std::optional<std::vector<T>> elements_of(GgufType element, std::uint64_t n, std::span<const std::byte> bytes,
                                          const Read& read) {
  const std::size_t size = fixed_size(element);
  if (size == 0) return std::nullopt;
  std::vector<T> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!read(element, bytes.data() + i * size, values[i])) return std::nullopt;
  return values;
}

}  // namespace

std::string_view to_string(GgufType type) {
  static constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                "bool", "string", "array", "u64", "i64", "f64"};
  const auto index = static_cast<std::size_t>(type);
  return index < std::size(kNames) ? kNames[index] : "?";
}

std::optional<std::int64_t> GgufValue::integer() const {
  std::int64_t value = 0;
  if (type_ == GgufType::array || !integer_at(type_, bytes_.data(), value)) return std::nullopt;
  return value;
}

std::optional<double> GgufValue::number() const {
  double value = 0;
  if (type_ == GgufType::array || !number_at(type_, bytes_.data(), value)) return std::nullopt;
  return value;
}

std::optional<std::string_view> GgufValue::text() const {
  if (type_ != GgufType::string) return std::nullopt;
  return std::string_view(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
}

std::optional<std::vector<std::int64_t>> GgufValue::integers() const {
  return elements_of<std::int64_t>(element_, size_, bytes_, integer_at);
}

std::optional<std::vector<double>> GgufValue::numbers() const {
  return elements_of<double>(element_, size_, bytes_, number_at);
}

std::optional<std::vector<std::string_view>> GgufValue::texts() const {
  if (type_ == GgufType::string) return std::vector<std::string_view>{*text()};
  if (element_ != GgufType::string) return std::nullopt;
  std::vector<std::string_view> found;
  found.reserve(static_cast<std::size_t>(size_));
  Cursor cursor(bytes_);
  for (std::uint64_t i = 0; i < size_; ++i) found.push_back(cursor.text(kNoLimit, "gguf", "string"));
  return found;
}

std::vector<GgufValue> GgufValue::items() const {
  if (type_ != GgufType::array) return {*this};
  std::vector<GgufValue> found;
  found.reserve(static_cast<std::size_t>(size_));
  Cursor cursor(bytes_);
  for (std::uint64_t i = 0; i < size_; ++i) found.push_back(read_value(cursor, bytes_, element_, "gguf", 0));
  return found;
}

bool begins_as_gguf(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0;
}

GgufContents parse_gguf(std::span<const std::byte> bytes, const std::string& name) {
  if (!begins_as_gguf(bytes))
    refuse(name, fmt::format("expected a GGUF file (it begins with \"GGUF\"), found another kind of file of {} bytes",
                             bytes.size()));
  Cursor cursor(bytes.subspan(4));
  GgufContents contents;
  contents.version = cursor.number<std::uint32_t>(name, "header");
  if (contents.version != 0 && (contents.version & 0xFFFFu) == 0)
    throw Error(ErrorCode::weights, name,
                "expected a little-endian GGUF file, found a big-endian one; fetch the little-endian file, or convert "
                "it with gguf-convert-endian");
  if (contents.version != 2 && contents.version != 3)
    throw Error(ErrorCode::weights, name,
                fmt::format("expected a GGUF file of version 2 or 3, found version {}; convert it anew from the "
                            "original checkpoint",
                            contents.version));
  const auto n_tensors = cursor.number<std::uint64_t>(name, "header");
  const auto n_keys = cursor.number<std::uint64_t>(name, "header");
  // A key takes 8 + 1 + 4 + 1 bytes at least, a tensor 8 + 1 + 4 + 4 + 8.
  if (n_keys > kMaxKeys || n_keys > cursor.left() / 14)
    refuse(name,
           fmt::format("expected at most {} keys and as many as its {} bytes can hold, found {} (is it truncated?)",
                       kMaxKeys, bytes.size(), n_keys));
  if (n_tensors > kMaxTensors || n_tensors > cursor.left() / 25)
    refuse(name, fmt::format("expected at most {} tensors and as many as its {} bytes can hold, found {} (is it "
                             "truncated?)",
                             kMaxTensors, bytes.size(), n_tensors));
  // From here on places count from the file's begin: padding is relative to it.
  Cursor body(bytes);
  body.take(24, name, "header");
  read_metadata(body, bytes, n_keys, name, contents);
  read_tensors(body, bytes, n_tensors, name, contents);
  return contents;
}

fs::path find_gguf(const fs::path& path) {
  std::error_code failure;
  if (!fs::is_directory(path, failure)) return path;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path, failure)) {
    const std::string name = entry.path().filename().string();
    const bool later_part = name.find("-of-") != std::string::npos && name.find("-00001-of-") == std::string::npos;
    if (entry.path().extension() == ".gguf" && !later_part && !name.starts_with("mmproj"))
      found.push_back(entry.path());
  }
  if (found.size() == 1) return found.front();
  std::sort(found.begin(), found.end());
  std::string names;
  for (const auto& file : found) names += (names.empty() ? "" : ", ") + file.filename().string();
  if (found.empty()) throw Error(ErrorCode::weights, path.string(), "expected a .gguf file in this folder, found none");
  throw Error(ErrorCode::weights, path.string(),
              "expected one .gguf file in this folder, found several (" + names + "); give the path of one");
}

std::vector<fs::path> gguf_parts(const fs::path& file, const GgufMetadata& metadata) {
  const auto found = metadata.find("split.count");
  const std::int64_t n = found == metadata.end() ? 1 : found->second.integer().value_or(0);
  if (n == 1) return {file};
  if (n < 1 || n > kMaxParts)
    refuse(file.string() + "/split.count", fmt::format("expected 1 to {}, found {}", kMaxParts, n));
  const std::string name = file.filename().string(), ending = fmt::format("-00001-of-{:05}.gguf", n);
  if (!name.ends_with(ending))
    throw Error(ErrorCode::weights, file.string(),
                fmt::format("expected the first part of a model split in {} (its name ends in {}), found another name; "
                            "give the path of the first part and keep the names as published",
                            n, ending));
  const std::string stem = name.substr(0, name.size() - ending.size());
  std::vector<fs::path> parts;
  for (std::int64_t i = 1; i <= n; ++i)
    parts.push_back(file.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", stem, i, n));
  return parts;
}

}  // namespace morph::tensor
