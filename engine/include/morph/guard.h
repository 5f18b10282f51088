// Guards: how the engine looks at the values of a payload at a stage's edge without knowing its modality.
//
// A modality registers one GuardFunction per payload type (Registry::add_guard). The engine adds up what it says over
// a whole stream and judges that: a NaN ends the run at once; a stream that is constant, clipped or empty is a warning
// in the run's metrics. One that is zero throughout counts as constant where the modality says that this is a fault (a
// black picture); elsewhere it is legitimate (silence).
#pragma once

#include <cstdint>
#include <functional>
#include <limits>

namespace morph {

class Payload;

/// What a payload's values look like; a guard function adds one payload to it.
struct GuardReport {
  std::uint64_t n_values = 0;   ///< samples, pixel components, tensor elements, characters
  std::uint64_t n_clipped = 0;  ///< values at or beyond the end of their range
  bool nan = false;             ///< a NaN or an infinity was seen
  bool numeric = false;         ///< low and high mean something (text has neither)
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  bool zero_is_fault = false;  ///< set by the function: nothing but zeros is no silence, but something that failed
  bool unit_ends = false;      ///< set by the function when this payload ends what is judged as one (a spoken answer)

  /// Adds one number; `limit` is the end of the nominal range (0: has none). NaN and infinity only set `nan`.
  void add(double value, double limit = 0.0) {
    numeric = true;
    ++n_values;
    if (!(value - value == 0.0)) {
      nan = true;
      return;
    }
    if (value < low) low = value;
    if (value > high) high = value;
    if (limit > 0.0 && (value >= limit || value <= -limit)) ++n_clipped;
  }
  bool constant() const { return numeric && n_values > 1 && low == high && (low != 0.0 || zero_is_fault); }
  bool clipped() const { return n_values > 0 && n_clipped * 20 > n_values; }
};

/// Adds `payload` to `report`. Called on engine threads, for host payloads only; must be quick and must not throw.
using GuardFunction = std::function<void(const Payload& payload, GuardReport& report)>;

}  // namespace morph
