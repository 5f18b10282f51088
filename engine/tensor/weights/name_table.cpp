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

using Indices = std::vector<std::int64_t>;

/// dims["name.2.0"], dims["name.2"] or dims["name"] for the indices {2, 0}.
std::int64_t dimension(const Dims& dims, const std::string& name, const Indices& indices) {
  if (!name.empty() && name.find_first_not_of("0123456789") == std::string::npos) return std::stoll(name);
  for (std::size_t n = indices.size() + 1; n-- > 0;) {
    std::string key = name;
    for (std::size_t i = 0; i < n; ++i) key += "." + std::to_string(indices[i]);
    if (const auto found = dims.find(key); found != dims.end()) return found->second;
  }
  throw Error(ErrorCode::internal, "tensor/name_table", fmt::format("no dimension is called '{}'", name));
}

/// Shapes of a row: alternatives apart by '|'.
std::vector<std::vector<std::int64_t>> shapes_of(const std::string& text, const Dims& dims, const Indices& indices) {
  std::vector<std::vector<std::int64_t>> shapes(1);
  std::istringstream in(text);
  for (std::string word; in >> word;)
    if (word == "|")
      shapes.emplace_back();
    else
      shapes.back().push_back(dimension(dims, word, indices));
  return shapes;
}

/// The first "{name}" or "[name]" of a text: where it begins, how long it is, the name.
struct Index {
  std::size_t at = std::string::npos, size = 0;
  std::string name;
};
Index first_index(const std::string& text, char open, char close) {
  const std::size_t at = text.find(open), end = at == std::string::npos ? at : text.find(close, at);
  if (end == std::string::npos) return {};
  return {at, end - at + 1, text.substr(at + 1, end - at - 1)};
}

std::string replaced(std::string text, char open, char close, const std::string& with) {
  const Index index = first_index(text, open, close);
  if (index.at != std::string::npos) text.replace(index.at, index.size, with);
  return text;
}

struct ExpandedRow {
  TensorRow row;
  Indices indices;
};

void expand(TensorRow row, const Indices& indices, const Dims& dims, std::vector<ExpandedRow>& all) {
  const Index index = first_index(row.published, '{', '}');
  if (index.at == std::string::npos) {
    all.push_back({std::move(row), indices});
    return;
  }
  const std::int64_t n = dimension(dims, index.name, indices);
  for (std::int64_t i = 0; i < n; ++i) {
    TensorRow one = row;
    one.local = replaced(row.local, '{', '}', std::to_string(i));
    one.published = replaced(row.published, '{', '}', std::to_string(i));
    Indices further = indices;
    further.push_back(i);
    expand(std::move(one), further, dims, all);
  }
}

std::vector<ExpandedRow> expanded(const std::vector<TensorRow>& rows, const Dims& dims) {
  std::vector<ExpandedRow> all;
  for (const TensorRow& row : rows) expand(row, {}, dims, all);
  return all;
}

/// Does `name` fit a pattern in which "{...}" stands for digits and a "*" at its end for anything?
bool fits(std::string_view pattern, std::string_view name) {
  while (!pattern.empty()) {
    if (pattern == "*") return true;
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

std::vector<std::int64_t> BoundTensor::shape() const {
  std::vector<std::int64_t> whole = stored->shape;
  if (stacked) whole.insert(whole.begin(), static_cast<std::int64_t>(1 + stack.size()));
  return whole;
}

std::vector<BoundTensor> bind(const Checkpoint& checkpoint, const std::vector<TensorRow>& rows, const Dims& dims,
                              const std::vector<std::string>& ignored) {
  std::vector<BoundTensor> bound;
  std::vector<std::string> missing, misshapen, extra;
  std::set<std::string, std::less<>> known;
  const auto bind_one = [&](const TensorRow& row, const std::string& published, const Indices& indices,
                            std::pair<const StoredTensor*, const StoredTensor*>& found) {
    known.insert(published);
    const StoredTensor* stored = checkpoint.find(published);
    if (stored == nullptr) {
      if (row.need == Need::required) missing.push_back(published);
      return false;
    }
    const StoredTensor* scale_inv = nullptr;
    if (stored->type == StoredType::f8_e4m3) {
      known.insert(published + "_scale_inv");
      scale_inv = checkpoint.find(published + "_scale_inv");
      if (scale_inv == nullptr) missing.push_back(published + "_scale_inv");
    }
    const auto shapes = shapes_of(row.shape, dims, indices);
    const auto fits_shape = [&](const auto& shape) { return same_shape(shape, stored->shape, checkpoint.is_gguf()); };
    if (std::none_of(shapes.begin(), shapes.end(), fits_shape))
      misshapen.push_back(
          fmt::format("{} (expected {}, found {})", published, shape_text(shapes.front()), shape_text(stored->shape)));
    found = {stored, scale_inv};
    return true;
  };
  for (const auto& [row, indices] : expanded(rows, dims)) {
    const Index stack = first_index(row.published, '[', ']');
    std::pair<const StoredTensor*, const StoredTensor*> found;
    if (stack.at == std::string::npos) {
      if (bind_one(row, row.published, indices, found))
        bound.push_back({row.local, found.first, found.second, row.role});
      continue;
    }
    const std::int64_t n = dimension(dims, stack.name, indices);
    BoundTensor whole;
    bool complete = n > 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const std::string published = replaced(row.published, '[', ']', std::to_string(i));
      if (!bind_one(row, published, indices, found)) {
        complete = false;
      } else if (i == 0) {
        whole = {row.local, found.first, found.second, row.role, {}, true};
      } else if (complete && (found.first->shape != whole.stored->shape || found.first->type != whole.stored->type)) {
        misshapen.push_back(published + " (expected the shape and type of its first)");
      } else {
        whole.stack.push_back(found);
      }
    }
    if (complete) bound.push_back(std::move(whole));
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
