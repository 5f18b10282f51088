// Shaping of utterances: trimming, offset, level, limiter, ends.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>
#include <numeric>

#include "synthesise/shaping.h"

using namespace morph::audio;

namespace {

constexpr int kRate = 22050;

/// Silence, a 200 Hz tone, silence; all on an offset.
std::vector<float> tone(double lead_s, double tone_s, double tail_s, double level, double offset = 0.0) {
  std::vector<float> samples;
  const auto add = [&](double seconds, double amplitude) {
    for (int i = 0; i < static_cast<int>(seconds * kRate); ++i)
      samples.push_back(
          static_cast<float>(offset + amplitude * std::sin(2 * std::numbers::pi * 200 * i / double(kRate))));
  };
  add(lead_s, 0);
  add(tone_s, level);
  add(tail_s, 0);
  return samples;
}

double largest_jump(const std::vector<float>& samples) {
  double largest = 0;
  for (std::size_t i = 1; i < samples.size(); ++i)
    largest = std::max(largest, std::abs(double(samples[i]) - samples[i - 1]));
  return largest;
}

}  // namespace

TEST_CASE("silence at the ends is trimmed to margins", "[unit]") {
  auto samples = tone(0.5, 1.0, 0.7, 0.15);
  shape_utterance(samples, kRate);
  CHECK(samples.size() / double(kRate) == Approx(1.052).margin(0.012));
}

TEST_CASE("an utterance starts and ends at rest and has no offset", "[unit]") {
  auto samples = tone(0.0, 1.0, 0.0, 0.3, 0.05);
  shape_utterance(samples, kRate);
  CHECK(std::abs(samples.front()) < 1e-3);
  CHECK(std::abs(samples.back()) < 1e-3);
  CHECK(std::abs(std::accumulate(samples.begin(), samples.end(), 0.0) / double(samples.size())) < 1e-3);
  CHECK(largest_jump(samples) < 0.05);
}

TEST_CASE("levels come closer to the target, within limits", "[unit]") {
  auto quiet = tone(0.1, 1.0, 0.1, 0.01), loud = tone(0.1, 1.0, 0.1, 0.9), near = tone(0.1, 1.0, 0.1, 0.12);
  const double quiet_before = active_rms(quiet, kRate), loud_before = active_rms(loud, kRate);
  for (auto* samples : {&quiet, &loud, &near}) shape_utterance(*samples, kRate);
  CHECK(active_rms(quiet, kRate) == Approx(quiet_before * std::pow(10, 0.15)).epsilon(0.05));
  CHECK(active_rms(loud, kRate) == Approx(loud_before / std::pow(10, 0.15)).epsilon(0.05));
  CHECK(active_rms(near, kRate) == Approx(0.10).epsilon(0.05));
}

TEST_CASE("what is too loud is bent, not clipped", "[unit]") {
  auto samples = tone(0.1, 0.5, 0.1, 1.3);
  shape_utterance(samples, kRate);
  const float peak = *std::max_element(samples.begin(), samples.end());
  CHECK(peak > 0.8f);
  CHECK(peak < 1.0f);
  CHECK(std::count(samples.begin(), samples.end(), peak) < 60);
}

TEST_CASE("nothing but silence is nothing", "[unit]") {
  std::vector<float> silent(1000, 0.0f), offset(1000, 0.2f), none;
  shape_utterance(silent, kRate);
  shape_utterance(offset, kRate);
  shape_utterance(none, kRate);
  CHECK(silent.empty());
  CHECK(offset.empty());
  CHECK(none.empty());
}
