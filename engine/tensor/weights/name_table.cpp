// Expansion and checking of name tables.
#include "tensor/weights/name_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "morph/error.h"

namespace morph::tensor {
namespace {

constexpr std::size_t kMaxListed = 12;

std::int64_t dimension(const Dims& dims, const std::string& name) {
  if (!name.empty() && name.find_first_not_of("0123456789") == std::string::npos) return std::stoll(name);
  const auto found = dims.find(name);
  if (found == dims.end())
    throw Error(ErrorCode::internal, "tensor/name_table", fmt::format("no dimension is called '{}'", name));
  return found->second;
}

/// Shapes of a row: alternatives apart by '|'.
std::vector<std::vector<std::int64_t>> shapes_of(const std::string& text, const Dims& dims) {
  std::vector<std::vector<std::int64_t>> shapes(1);
  std::istringstream in(text);
  for (std::string word; in >> word;)
    if (word == "|")
      shapes.emplace_back();
    else
      shapes.back().push_back(dimension(dims, word));
  return shapes;
}

std::string replaced(std::string text, const std::string& with) {
  const std::size_t open = text.find('{'), close = text.find('}');
  if (open != std::string::npos && close != std::string::npos) text.replace(open, close - open + 1, with);
  return text;
}

std::vector<TensorRow> expanded(const std::vector<TensorRow>& rows, const Dims& dims) {
  std::vector<TensorRow> all;
  for (const TensorRow& row : rows) {
    const std::size_t open = row.published.find('{'), close = row.published.find('}');
    if (open == std::string::npos || close == std::string::npos) {
      all.push_back(row);
      continue;
    }
    const std::int64_t n = dimension(dims, row.published.substr(open + 1, close - open - 1));
    for (std::int64_t i = 0; i < n; ++i) {
      TensorRow one = row;
      one.local = replaced(row.local, std::to_string(i));
      one.published = replaced(row.published, std::to_string(i));
      all.push_back(std::move(one));
    }
  }
  return all;
}

/// Does `name` fit a pattern in which "{...}" stands for digits?
bool fits(std::string_view pattern, std::string_view name) {
  while (!pattern.empty()) {
    if (pattern.front() == '{') {
      pattern.remove_prefix(std::min(pattern.size(), pattern.find('}') + 1));
      const std::size_t digits = std::min(name.size(), name.find_first_not_of("0123456789"));
      if (digits == 0) return false;
      name.remove_prefix(digits);
    } else {
      if (name.empty() || name.front() != pattern.front()) return false;
      pattern.remove_prefix(1);
      name.remove_prefix(1);
    }
  }
  return name.empty();
}

/// A GGUF file does not keep leading ones (ggml's innermost-first shapes have none at their end).
bool same_shape(std::vector<std::int64_t> wanted, std::vector<std::int64_t> stored, bool is_gguf) {
  if (is_gguf)
    for (auto* shape : {&wanted, &stored})
      shape->erase(shape->begin(), std::find_if(shape->begin(), shape->end(), [](std::int64_t d) { return d != 1; }));
  return wanted == stored;
}

void list(std::string& message, const char* title, const std::vector<std::string>& names) {
  if (names.empty()) return;
  message += fmt::format("{}{} {}: ", message.empty() ? "" : "; ", names.size(), title);
  for (std::size_t i = 0; i < names.size() && i < kMaxListed; ++i) message += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kMaxListed) message += ", ...";
}

}  // namespace

std::vector<BoundTensor> bind(const Checkpoint& checkpoint, const std::vector<TensorRow>& rows, const Dims& dims,
                              const std::vector<std::string>& ignored) {
  std::vector<BoundTensor> bound;
  std::vector<std::string> missing, misshapen, extra;
  std::set<std::string, std::less<>> known;
  for (const TensorRow& row : expanded(rows, dims)) {
    known.insert(row.published);
    const StoredTensor* stored = checkpoint.find(row.published);
    if (stored == nullptr) {
      if (row.need == Need::required) missing.push_back(row.published);
      continue;
    }
    const StoredTensor* scale_inv = nullptr;
    if (stored->type == StoredType::f8_e4m3) {
      known.insert(row.published + "_scale_inv");
      scale_inv = checkpoint.find(row.published + "_scale_inv");
      if (scale_inv == nullptr) missing.push_back(row.published + "_scale_inv");
    }
    const auto shapes = shapes_of(row.shape, dims);
    const auto fits_shape = [&](const auto& shape) { return same_shape(shape, stored->shape, checkpoint.is_gguf()); };
    if (std::none_of(shapes.begin(), shapes.end(), fits_shape))
      misshapen.push_back(fmt::format("{} (expected {}, found {})", row.published, shape_text(shapes.front()),
                                      shape_text(stored->shape)));
    bound.push_back({row.local, stored, scale_inv, row.role});
  }
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    bool expected = known.count(name) != 0;
    for (const std::string& pattern : ignored) expected = expected || fits(pattern, name);
    if (!expected) extra.push_back(name);
  }
  std::string message;
  list(message, "missing", missing);
  list(message, "misshapen", misshapen);
  list(message, "unknown", extra);
  if (!message.empty())
    throw Error(ErrorCode::weights, checkpoint.path().string(),
                "expected the tensors that config.json implies, found " + message +
                    "; the checkpoint is incomplete or of another family");
  return bound;
}

}  // namespace morph::tensor
