// Formats: what packets on a link hold, and how two ports agree on it before anything runs.
//
// A Format is concrete ("audio/pcm" {rate: 16000, channels: 1}); a FormatPattern allows several. Output ports offer
// patterns in order of preference, input ports accept patterns; a link takes the first intersection, fixed to
// concrete values. The idea is GStreamer's caps negotiation, done once at compile time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "morph/value.h"

namespace morph {

/// What the packets of one link hold. `type` is "<modality>/<kind>": "audio/pcm", "text/plain", "image/pixels",
/// "event", "tensor". Sizes that change from packet to packet (image width) are not fields.
struct Format {
  std::string type;
  std::map<std::string, Value> fields;

  /// Typed access; throws Error{format} when the field is absent or of another type.
  std::int64_t get_int(std::string_view field) const;
  const std::string& get_string(std::string_view field) const;
  bool operator==(const Format&) const = default;
};
std::string to_string(const Format& format);

/// What one field may be. Default: anything.
class Constraint {
 public:
  Constraint() = default;
  static Constraint is(Value value);
  static Constraint one_of(std::vector<Value> values);           ///< in order of preference
  static Constraint range(std::int64_t low, std::int64_t high);  ///< both ends included; fixed to `low`
  static Constraint range(std::int64_t low, std::int64_t high, std::int64_t preferred);

  bool allows(const Value& value) const;
  bool is_any() const { return values_.empty() && !has_range_; }
  /// The preferred value, or nothing for "any".
  std::optional<Value> preferred() const;
  /// Values that both allow, in this one's order of preference (a range without a `preferred` value has none, so
  /// the other's order stands); nothing if there are none.
  std::optional<Constraint> intersect(const Constraint& other) const;
  std::string describe() const;

 private:
  std::vector<Value> values_;
  bool has_range_ = false, has_preference_ = false;
  std::int64_t low_ = 0, high_ = 0, preferred_ = 0;
};

struct FormatPattern {
  std::string type;
  std::map<std::string, Constraint> fields;  ///< a field that is not named is "any"
};
std::string to_string(const FormatPattern& pattern);

bool matches(const FormatPattern& pattern, const Format& format);
std::optional<FormatPattern> intersect(const FormatPattern& offered, const FormatPattern& accepted);
/// Every field set to its preferred value; fields that allow anything are left out.
Format fixate(const FormatPattern& pattern);
/// A pattern that allows exactly this format.
FormatPattern exactly(const Format& format);

}  // namespace morph
