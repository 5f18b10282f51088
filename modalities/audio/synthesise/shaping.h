// From a model's raw samples to utterances that can be put side by side: no offset, no stray silence, no clicks at the
// seams, level kept, nothing clipped.
#pragma once

#include <span>
#include <vector>

namespace morph::audio {

struct ShapeOptions {
  double silence_db = -45.0;  ///< frames quieter than this under the loudest one are silence at the ends
  double lead_ms = 12.0;      ///< kept before the first sound
  double tail_ms = 40.0;      ///< kept after the last sound
  double fade_in_ms = 4.0;
  double fade_out_ms = 12.0;
  double target_rms = 0.10;  ///< of frames that sound (-20 dBFS)
  double max_gain_db = 3.0;  ///< how far one utterance may be moved towards it, either way
  double limit_from = 0.8;   ///< above this the soft limiter bends; the result stays below 1
};

/// Shapes one utterance of mono samples in place; empty when there is nothing but silence.
void shape_utterance(std::vector<float>& samples, int rate_hz, const ShapeOptions& options = {});

/// Root mean square of the frames that sound (20 ms frames within 35 dB of the loudest).
double active_rms(std::span<const float> samples, int rate_hz);

}  // namespace morph::audio
