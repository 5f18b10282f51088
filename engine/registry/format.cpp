// Format negotiation's value operations: which values a constraint allows, what two patterns share, and how a pattern
// becomes one concrete format. Pure functions; the order of preference is what makes the result deterministic.
#include "morph/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/value_kind.h"
#include "morph/error.h"

namespace morph {
namespace {

std::uint64_t distance(std::int64_t a, std::int64_t b) {
  return a > b ? static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b)
               : static_cast<std::uint64_t>(b) - static_cast<std::uint64_t>(a);
}

template <class T>
const T& field_as(const Format& format, std::string_view field, std::string_view expected) {
  const auto found = format.fields.find(std::string(field));
  if (found == format.fields.end())
    throw Error(ErrorCode::format, format.type,
                fmt::format("expected a field \"{}\" ({}), found {}", field, expected, to_string(format)));
  if (const T* value = std::get_if<T>(&found->second)) return *value;
  throw Error(ErrorCode::format, format.type,
              fmt::format("field \"{}\": expected {}, found {} {}", field, expected, value_kind(found->second),
                          to_string(found->second)));
}

}  // namespace

std::int64_t Format::get_int(std::string_view field) const {
  return field_as<std::int64_t>(*this, field, "an integer");
}

const std::string& Format::get_string(std::string_view field) const {
  return field_as<std::string>(*this, field, "a string");
}

std::string to_string(const Format& format) {
  if (format.fields.empty()) return format.type;
  std::string out = format.type + " {";
  bool first = true;
  for (const auto& [name, value] : format.fields) {
    if (!std::exchange(first, false)) out += ", ";
    out += name + ": " + to_string(value);
  }
  return out + "}";
}

Constraint Constraint::is(Value value) {
  Constraint constraint;
  constraint.values_.push_back(std::move(value));
  return constraint;
}

Constraint Constraint::one_of(std::vector<Value> values) {
  if (values.empty()) throw Error(ErrorCode::internal, "format", "Constraint::one_of: expected values, found none");
  Constraint constraint;
  constraint.values_ = std::move(values);
  return constraint;
}

Constraint Constraint::range(std::int64_t low, std::int64_t high) {
  Constraint constraint = range(low, high, low);
  constraint.has_preference_ = false;
  return constraint;
}

Constraint Constraint::range(std::int64_t low, std::int64_t high, std::int64_t preferred) {
  if (low > high || preferred < low || preferred > high)
    throw Error(
        ErrorCode::internal, "format",
        fmt::format("Constraint::range: expected low <= preferred <= high, found {}, {}, {}", low, preferred, high));
  Constraint constraint;
  constraint.has_range_ = constraint.has_preference_ = true;
  constraint.low_ = low;
  constraint.high_ = high;
  constraint.preferred_ = preferred;
  return constraint;
}

bool Constraint::allows(const Value& value) const {
  if (has_range_) {
    const std::int64_t* whole = std::get_if<std::int64_t>(&value);
    return whole != nullptr && *whole >= low_ && *whole <= high_;
  }
  return values_.empty() || std::find(values_.begin(), values_.end(), value) != values_.end();
}

std::optional<Value> Constraint::preferred() const {
  if (has_range_) return Value{preferred_};
  if (!values_.empty()) return values_.front();
  return std::nullopt;
}

std::optional<Constraint> Constraint::intersect(const Constraint& other) const {
  if (is_any()) return other;
  if (other.is_any()) return *this;
  if (has_range_ && other.has_range_) {
    const std::int64_t low = std::max(low_, other.low_), high = std::min(high_, other.high_);
    if (low > high) return std::nullopt;
    Constraint both = range(low, high);
    both.has_preference_ = has_preference_ || other.has_preference_;
    if (has_preference_)
      both.preferred_ = std::clamp(preferred_, low, high);
    else if (other.has_preference_)
      both.preferred_ = std::clamp(other.preferred_, low, high);
    return both;
  }
  Constraint both;
  const Constraint& listed = has_range_ ? other : *this;
  const Constraint& filter = has_range_ ? *this : other;
  for (const Value& value : listed.values_)
    if (filter.allows(value)) both.values_.push_back(value);
  if (both.values_.empty()) return std::nullopt;
  if (has_range_ && has_preference_) {
    std::stable_sort(both.values_.begin(), both.values_.end(), [this](const Value& a, const Value& b) {
      return distance(std::get<std::int64_t>(a), preferred_) < distance(std::get<std::int64_t>(b), preferred_);
    });
  }
  return both;
}

std::string Constraint::describe() const {
  if (has_range_) return fmt::format("{}..{}", low_, high_);
  if (values_.empty()) return "any";
  if (values_.size() == 1) return to_string(values_.front());
  std::string out;
  for (const Value& value : values_) out += (out.empty() ? "" : " | ") + to_string(value);
  return out;
}

std::string to_string(const FormatPattern& pattern) {
  std::string out = pattern.type;
  bool first = true;
  for (const auto& [name, constraint] : pattern.fields) {
    out += std::exchange(first, false) ? " {" : ", ";
    out += name + ": " + constraint.describe();
  }
  return first ? out : out + "}";
}

bool matches(const FormatPattern& pattern, const Format& format) {
  if (pattern.type != format.type) return false;
  return std::all_of(pattern.fields.begin(), pattern.fields.end(), [&](const auto& field) {
    const auto found = format.fields.find(field.first);
    return found == format.fields.end() ? field.second.is_any() : field.second.allows(found->second);
  });
}

std::optional<FormatPattern> intersect(const FormatPattern& offered, const FormatPattern& accepted) {
  if (offered.type != accepted.type) return std::nullopt;
  FormatPattern both = offered;
  for (const auto& [name, constraint] : accepted.fields) {
    auto [field, added] = both.fields.try_emplace(name, constraint);
    if (added) continue;
    std::optional<Constraint> shared = field->second.intersect(constraint);
    if (!shared) return std::nullopt;
    field->second = std::move(*shared);
  }
  return both;
}

Format fixate(const FormatPattern& pattern) {
  Format format;
  format.type = pattern.type;
  for (const auto& [name, constraint] : pattern.fields)
    if (std::optional<Value> value = constraint.preferred()) format.fields.emplace(name, std::move(*value));
  return format;
}

FormatPattern exactly(const Format& format) {
  FormatPattern pattern;
  pattern.type = format.type;
  for (const auto& [name, value] : format.fields) pattern.fields.emplace(name, Constraint::is(value));
  return pattern;
}

}  // namespace morph
