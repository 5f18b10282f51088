// soxr as a streaming resampler of interleaved float audio, one object per stream.
#pragma once

#include <memory>
#include <span>
#include <vector>

struct soxr;

namespace morph::audio {

class Resampler {
 public:
  /// Throws Error{config} for rates or channels that soxr refuses.
  Resampler(int from_hz, int to_hz, int channels);
  ~Resampler();
  Resampler(const Resampler&) = delete;
  Resampler& operator=(const Resampler&) = delete;

  /// Appends to `out` what can be made by now. `in` holds whole frames.
  void process(std::span<const float> in, std::vector<float>& out);
  /// Appends the rest; the stream is over (clear() starts a new one).
  void finish(std::vector<float>& out);
  void clear();

 private:
  void pump(const float* in, std::size_t n_frames, std::vector<float>& out);
  soxr* soxr_ = nullptr;
  double ratio_;
  std::size_t channels_;
};

}  // namespace morph::audio
