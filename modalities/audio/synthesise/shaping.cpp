// Trimming, fades, level and limiter of one utterance.
#include "synthesise/shaping.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace morph::audio {
namespace {

std::vector<double> frame_power(std::span<const float> samples, std::size_t n_frame) {
  std::vector<double> power;
  for (std::size_t at = 0; at < samples.size(); at += n_frame) {
    const auto frame = samples.subspan(at, std::min(n_frame, samples.size() - at));
    double sum = 0;
    for (float sample : frame) sum += static_cast<double>(sample) * sample;
    power.push_back(sum / static_cast<double>(frame.size()));
  }
  return power;
}

std::size_t frames_of(double ms, int rate_hz) { return static_cast<std::size_t>(ms * rate_hz / 1000.0); }

/// A raised cosine from 0 to 1 over `n` samples.
float ramp(std::size_t i, std::size_t n) {
  return static_cast<float>(0.5 -
                            0.5 * std::cos(std::numbers::pi * (static_cast<double>(i) + 0.5) / static_cast<double>(n)));
}

void fade(std::vector<float>& samples, std::size_t n_in, std::size_t n_out) {
  n_in = std::min(n_in, samples.size() / 2);
  n_out = std::min(n_out, samples.size() / 2);
  for (std::size_t i = 0; i < n_in; ++i) samples[i] *= ramp(i, n_in);
  for (std::size_t i = 0; i < n_out; ++i) samples[samples.size() - 1 - i] *= ramp(i, n_out);
}

}  // namespace

double active_rms(std::span<const float> samples, int rate_hz) {
  if (samples.empty()) return 0;
  const std::vector<double> power = frame_power(samples, std::max<std::size_t>(1, frames_of(20, rate_hz)));
  const double floor = *std::max_element(power.begin(), power.end()) * std::pow(10.0, -3.5);
  double sum = 0;
  std::size_t n = 0;
  for (double value : power)
    if (value >= floor && value > 0) sum += value, ++n;
  return n == 0 ? 0 : std::sqrt(sum / static_cast<double>(n));
}

void shape_utterance(std::vector<float>& samples, int rate_hz, const ShapeOptions& options) {
  if (samples.empty()) return;
  const double mean = std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
  for (float& sample : samples) sample -= static_cast<float>(mean);

  const std::size_t n_frame = std::max<std::size_t>(1, frames_of(5, rate_hz));
  const std::vector<double> power = frame_power(samples, n_frame);
  const double loudest = *std::max_element(power.begin(), power.end());
  if (loudest < 1e-10) {
    samples.clear();
    return;
  }
  const auto sounds = [&](double value) { return value > loudest * std::pow(10.0, options.silence_db / 10.0); };
  const auto first = std::find_if(power.begin(), power.end(), sounds) - power.begin();
  const auto last = power.rend() - std::find_if(power.rbegin(), power.rend(), sounds);  // one past
  const std::size_t lead = frames_of(options.lead_ms, rate_hz), tail = frames_of(options.tail_ms, rate_hz);
  const std::size_t begin = static_cast<std::size_t>(first) * n_frame;
  const std::size_t end = std::min(samples.size(), static_cast<std::size_t>(last) * n_frame + tail);
  samples.erase(samples.begin() + static_cast<std::ptrdiff_t>(end), samples.end());
  samples.erase(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(begin > lead ? begin - lead : 0));

  const double limit = std::pow(10.0, options.max_gain_db / 20.0);
  const double rms = active_rms(samples, rate_hz);
  const double gain = rms > 0 ? std::clamp(options.target_rms / rms, 1.0 / limit, limit) : 1.0;
  const double knee = options.limit_from, room = 0.999 - knee;
  for (float& sample : samples) {
    const double level = std::abs(sample * gain);
    const double kept = level <= knee ? level : knee + room * std::tanh((level - knee) / room);
    sample = static_cast<float>(std::copysign(kept, sample));
  }
  fade(samples, frames_of(options.fade_in_ms, rate_hz), frames_of(options.fade_out_ms, rate_hz));
}

}  // namespace morph::audio
