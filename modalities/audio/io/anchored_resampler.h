// A resampler whose state can be saved. soxr hands out none, so it is started anew at fixed places of the stream (every
// five seconds, with a lead-in longer than its filter): what it was given since is its state. The places depend on the
// stream alone, so a stream sounds the same wherever it was saved, and whether it was.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "exec/wire.h"
#include "io/resampler.h"

namespace morph::audio {

/// One stream of interleaved frames. Not thread-safe.
class AnchoredResampler {
 public:
  /// Throws Error{config} for rates or channels that soxr refuses.
  AnchoredResampler(int from_hz, int to_hz, int channels);

  /// Appends to `out` what can be made by now. `in` holds whole frames.
  void process(std::span<const float> in, std::vector<float>& out);
  /// Appends the rest; the stream is over (clear() starts a new one).
  void finish(std::vector<float>& out);
  void clear();

  void save(wire::Writer& writer) const;
  /// Throws Error{format} for damaged bytes.
  void restore(wire::Reader& reader);

 private:
  void feed(std::span<const float> in, std::vector<float>& out);
  bool deliver(std::vector<float>& out, bool last);

  // All counts are of samples (frames times channels).
  Resampler resampler_;
  std::size_t step_;                  ///< most that is fed at once
  std::size_t block_in_, block_out_;  ///< between two anchors; they are whole multiples of the rates' ratio
  std::size_t lead_in_, lead_out_;    ///< before an anchor
  std::vector<float> history_;        ///< what the resampler was given since it was started
  std::vector<float> made_;           ///< by it, not yet delivered
  std::size_t n_drop_ = 0;            ///< of what it makes next: the lead-in
  std::size_t n_block_ = 0;           ///< delivered since the anchor
  bool led_in_ = false;               ///< the history begins with a lead-in
};

}  // namespace morph::audio
