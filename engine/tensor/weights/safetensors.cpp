// Reader of safetensors headers; see the format's README at huggingface/safetensors. Stricter than needed for honest
// files: the data must be covered exactly, as the reference implementation demands too.
#include "tensor/weights/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/bounded_json.h"
#include "morph/error.h"

namespace morph::tensor {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit
// Three levels deep; some ten values for each of 400,000 tensors (the largest published files hold a tenth of that).
constexpr JsonLimits kHeaderLimits{kMaxHeader, 8, 1u << 22};
constexpr std::size_t kMaxRank = 8;
constexpr std::int64_t kMaxElements = std::int64_t{1} << 48;

[[noreturn]] void refuse(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::weights, where, message + "; the file is damaged or not what it claims to be: fetch it again");
}

StoredType parse_type(const std::string& where, const std::string& text) {
  static constexpr StoredType kAll[] = {StoredType::f64,     StoredType::f32, StoredType::f16,    StoredType::bf16,
                                        StoredType::f8_e4m3, StoredType::i64, StoredType::i32,    StoredType::i16,
                                        StoredType::i8,      StoredType::u8,  StoredType::boolean};
  for (const StoredType type : kAll)
    if (to_string(type) == text) return type;
  throw Error(ErrorCode::weights, where,
              fmt::format("expected dtype F64, F32, F16, BF16, F8_E4M3, I64, I32, I16, I8, U8 or BOOL, found '{}'",
                          shown_name(text)));
}

/// A number of the header that must be a whole number from 0 on.
std::int64_t whole(const json& value, const std::string& where, const char* what) {
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    refuse(where, fmt::format("expected whole numbers in {}, found {}", what,
                              shown_name(value.dump(-1, ' ', true, json::error_handler_t::replace))));
  return static_cast<std::int64_t>(value.get<std::uint64_t>());
}

StoredTensor parse_entry(const std::string& key, const json& entry, std::span<const std::byte> data,
                         const std::string& file) {
  StoredTensor tensor;
  tensor.name = key;
  tensor.where = file + "/" + shown_name(key);
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
    elements *= std::max<std::int64_t>(d, 1);  // an empty tensor's other dimensions are bounded, too
  }
  const json& offsets = entry["data_offsets"];
  if (offsets.size() != 2) refuse(tensor.where, "expected two data_offsets");
  const std::int64_t begin = whole(offsets[0], tensor.where, "data_offsets");
  const std::int64_t end = whole(offsets[1], tensor.where, "data_offsets");
  if (begin > end || static_cast<std::uint64_t>(end) > data.size())
    refuse(tensor.where, fmt::format("expected data within {} bytes, found offsets {} to {} (is the file truncated?)",
                                     data.size(), begin, end));
  const std::int64_t bytes = tensor.elements() * static_cast<std::int64_t>(size_of(tensor.type));
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
  if (const std::string excess = json_excess(text, kHeaderLimits); !excess.empty()) refuse(file, excess);
  const json::parser_callback_t watch = [&](int depth, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::key && depth == 1 && !seen.insert(value.get<std::string>()).second)
      duplicate = value.get<std::string>();
    return true;
  };
  json header = json::parse(text.begin(), text.end(), watch, false);
  if (header.is_discarded()) refuse(file, "expected a header of UTF-8 JSON");
  if (!header.is_object()) refuse(file, "expected a JSON object as header");
  if (!duplicate.empty()) refuse(file + "/" + shown_name(duplicate), "expected each tensor once, found it twice");
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

}  // namespace morph::tensor
