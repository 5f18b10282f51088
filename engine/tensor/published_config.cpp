// See published_config.h.
#include "tensor/published_config.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <system_error>
#include <utility>

namespace morph::tensor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxValues = 16'000'000;

std::string shown(const json* value) {
  if (value == nullptr) return "nothing";
  if (value->is_structured()) return fmt::format("{} of {} elements", value->type_name(), value->size());
  std::string text = value->dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 80) text.resize(80);
  return text;
}

template <class Source>
json parse_bounded(Source& source, const std::string& where) {
  std::size_t n_values = 0;
  const auto wrong = [&](const std::string& message) {
    throw Error(ErrorCode::weights, where, message + "; is the model fetched in full?");
  };
  const auto bounded = [&](int depth, json::parse_event_t, json&) {
    if (depth > kMaxDepth) wrong(fmt::format("expected at most {} levels of JSON, found more", kMaxDepth));
    if (++n_values > kMaxValues) wrong(fmt::format("expected at most {} values of JSON, found more", kMaxValues));
    return true;
  };
  json document = json::parse(source, bounded, false);
  if (document.is_discarded()) wrong("expected JSON in UTF-8, found other text");
  return document;
}

[[noreturn]] void too_large(const std::string& where, std::size_t max_bytes) {
  throw Error(ErrorCode::weights, where, fmt::format("expected at most {} bytes of JSON, found more", max_bytes));
}

}  // namespace

json read_json_file(const fs::path& file, std::size_t max_bytes) {
  std::error_code failed;
  if (!fs::is_regular_file(file, failed))
    throw Error(ErrorCode::weights, file.string(), "expected a JSON file, found none; is the model fetched in full?");
  if (fs::file_size(file, failed) > max_bytes || failed) too_large(file.string(), max_bytes);
  std::ifstream in(file, std::ios::binary);
  return parse_bounded(in, file.string());
}

json parse_json(std::string_view text, const std::string& where, std::size_t max_bytes) {
  if (text.size() > max_bytes) too_large(where, max_bytes);
  return parse_bounded(text, where);
}

bool json_file_says(const fs::path& file, std::string_view key, std::string_view value) {
  std::error_code failed;
  if (!fs::is_regular_file(file, failed)) return false;
  try {
    const json document = read_json_file(file, std::size_t{16} << 20);
    const auto found = document.is_object() ? document.find(key) : document.end();
    return document.is_object() && found != document.end() && found->is_string() &&
           found->get_ref<const std::string&>() == value;
  } catch (const Error&) {
    return false;
  }
}

PublishedConfig::PublishedConfig(json object, std::string where)
    : object_(std::move(object)), where_(std::move(where)) {
  if (!object_.is_object()) throw Error(ErrorCode::weights, where_, "expected a JSON object, found " + shown(&object_));
}

PublishedConfig PublishedConfig::read(const fs::path& file) { return {read_json_file(file), file.string()}; }

PublishedConfig PublishedConfig::read_if_there(const fs::path& file) {
  std::error_code failed;
  return fs::exists(file, failed) ? read(file) : PublishedConfig(json::object(), file.string());
}

const json* PublishedConfig::find(Names names) const {
  for (const std::string_view name : names)
    if (const auto found = object_.find(name); found != object_.end() && !found->is_null()) return &*found;
  return nullptr;
}

std::string PublishedConfig::name_of(Names names) const {
  for (const std::string_view name : names)
    if (object_.contains(name)) return std::string(name);
  return std::string(*names.begin());
}

const json& PublishedConfig::at(Names names, const std::string& expected) const {
  const json* found = find(names);
  if (found == nullptr) refuse(name_of(names), expected);
  return *found;
}

void PublishedConfig::refuse(std::string_view key, const std::string& expected) const {
  const auto found = object_.find(key);
  throw Error(ErrorCode::weights, where_ + "/" + std::string(key),
              fmt::format("expected {}, found {}", expected, shown(found == object_.end() ? nullptr : &*found)));
}

void PublishedConfig::demand(bool good, std::string_view key, const std::string& expected) const {
  if (!good) refuse(key, expected);
}

std::int64_t PublishedConfig::integer(Names names, std::int64_t min, std::int64_t max) const {
  const std::string expected = fmt::format("a whole number from {} to {}", min, max);
  const json& value = at(names, expected);
  // A number beyond 64 bits signed is out of every range here.
  const bool good = value.is_number_integer() &&
                    !(value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{INT64_MAX}) &&
                    value.get<std::int64_t>() >= min && value.get<std::int64_t>() <= max;
  demand(good, name_of(names), expected);
  return value.get<std::int64_t>();
}

std::int64_t PublishedConfig::integer(Names names, std::int64_t min, std::int64_t max, std::int64_t otherwise) const {
  return has(names) ? integer(names, min, max) : otherwise;
}

double PublishedConfig::number(Names names, double min, double max) const {
  const std::string expected = fmt::format("a number from {} to {}", min, max);
  const json& value = at(names, expected);
  const bool good = value.is_number() && value.get<double>() >= min && value.get<double>() <= max;
  demand(good, name_of(names), expected);
  return value.get<double>();
}

double PublishedConfig::number(Names names, double min, double max, double otherwise) const {
  return has(names) ? number(names, min, max) : otherwise;
}

bool PublishedConfig::flag(Names names, bool otherwise) const {
  const json* value = find(names);
  if (value == nullptr) return otherwise;
  demand(value->is_boolean(), name_of(names), "true or false");
  return value->get<bool>();
}

std::string PublishedConfig::text(Names names) const {
  const json& value = at(names, "text");
  demand(value.is_string(), name_of(names), "text");
  return value.get<std::string>();
}

std::string PublishedConfig::text(Names names, std::string_view otherwise) const {
  return has(names) ? text(names) : std::string(otherwise);
}

namespace {

bool read_integers(const json& list, std::int64_t min, std::int64_t max, std::size_t max_size,
                   std::vector<std::int64_t>& out) {
  if (!list.is_array() || list.size() > max_size) return false;
  for (const json& value : list) {
    if (!value.is_number_integer() || value.get<std::int64_t>() < min || value.get<std::int64_t>() > max) return false;
    out.push_back(value.get<std::int64_t>());
  }
  return true;
}

}  // namespace

std::vector<std::int64_t> PublishedConfig::integers(Names names, std::int64_t min, std::int64_t max,
                                                    std::size_t max_size) const {
  const std::string expected = fmt::format("a list of at most {} whole numbers from {} to {}", max_size, min, max);
  std::vector<std::int64_t> values;
  demand(read_integers(at(names, expected), min, max, max_size, values), name_of(names), expected);
  return values;
}

std::vector<std::vector<std::int64_t>> PublishedConfig::integer_lists(Names names, std::int64_t min, std::int64_t max,
                                                                      std::size_t max_size) const {
  const std::string expected =
      fmt::format("at most {0} lists of at most {0} whole numbers from {1} to {2}", max_size, min, max);
  const json& lists = at(names, expected);
  demand(lists.is_array() && lists.size() <= max_size, name_of(names), expected);
  std::vector<std::vector<std::int64_t>> values;
  for (const json& list : lists)
    demand(read_integers(list, min, max, max_size, values.emplace_back()), name_of(names), expected);
  return values;
}

PublishedConfig PublishedConfig::section(Names names) const {
  const json& value = at(names, "an object");
  demand(value.is_object(), name_of(names), "an object");
  return {value, where_ + "/" + name_of(names)};
}

PublishedConfig PublishedConfig::section_if_there(Names names) const {
  return has(names) ? section(names) : PublishedConfig(json::object(), where_ + "/" + name_of(names));
}

}  // namespace morph::tensor
