// The resampler whose state can be saved: the same samples however the input is cut and wherever it was saved, and as
// good as soxr without a break.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "exec/wire.h"
#include "io/anchored_resampler.h"
#include "io/resampler.h"

using namespace morph;
using namespace morph::audio;

namespace {

/// Something with content at all frequencies that survive, and no period.
std::vector<float> sweep(int rate_hz, int channels, double seconds) {
  std::vector<float> samples;
  const auto n = static_cast<std::size_t>(seconds * rate_hz);
  for (std::size_t i = 0; i < n; ++i)
    for (int c = 0; c < channels; ++c) {
      const double t = static_cast<double>(i) / rate_hz;
      samples.push_back(static_cast<float>(0.3 * std::sin(2 * 3.14159265 * (200 + 90 * t + 30 * c) * t) +
                                           0.2 * std::sin(1234.5 * t * t)));
    }
  return samples;
}

std::vector<float> resampled(const std::vector<float>& in, int from, int to, int channels, std::size_t n_chunk) {
  AnchoredResampler resampler(from, to, channels);
  std::vector<float> out;
  n_chunk *= static_cast<std::size_t>(channels);
  for (std::size_t at = 0; at < in.size(); at += n_chunk)
    resampler.process(std::span(in).subspan(at, std::min(n_chunk, in.size() - at)), out);
  resampler.finish(out);
  return out;
}

}  // namespace

TEST_CASE("the anchored resampler gives the same samples however its input is cut", "[unit]") {
  for (const auto& [from, to, channels] : {std::tuple{44100, 16000, 2}, {22050, 48000, 1}, {48000, 16000, 1}}) {
    INFO(from << " Hz to " << to << " Hz");
    const std::vector<float> in = sweep(from, channels, 17.3);
    const std::vector<float> whole = resampled(in, from, to, channels, in.size());
    CHECK(whole == resampled(in, from, to, channels, 512));
    CHECK(whole == resampled(in, from, to, channels, 44100));
    CHECK(whole == resampled(in, from, to, channels, 7919));
    // And what soxr gives without a break, but for rounding.
    Resampler plain(from, to, channels);
    std::vector<float> expected;
    plain.process(in, expected);
    plain.finish(expected);
    REQUIRE(whole.size() == expected.size());
    double worst = 0;
    for (std::size_t i = 0; i < whole.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(whole[i]) - expected[i]));
    CHECK(worst < 2e-6);
  }
}

TEST_CASE("the anchored resampler goes on from where it was saved with the same samples", "[unit]") {
  constexpr int kFrom = 44100, kTo = 16000;
  const std::vector<float> in = sweep(kFrom, 1, 13.0);
  const std::vector<float> whole = resampled(in, kFrom, kTo, 1, 1000);
  for (const std::size_t n_before : {std::size_t{0}, std::size_t{1000}, std::size_t{219000}, std::size_t{221000},
                                     std::size_t{231000}, std::size_t{500000}}) {
    INFO("after " << n_before << " samples");
    AnchoredResampler first(kFrom, kTo, 1), second(kFrom, kTo, 1);
    std::vector<float> out;
    for (std::size_t at = 0; at < n_before; at += 1000) first.process(std::span(in).subspan(at, 1000), out);
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    first.save(writer);
    wire::Reader reader(saved, "test");
    second.restore(reader);
    CHECK(reader.left() == 0);
    for (std::size_t at = n_before; at < in.size(); at += 1000)
      second.process(std::span(in).subspan(at, std::min<std::size_t>(1000, in.size() - at)), out);
    second.finish(out);
    CHECK(out == whole);
  }
}
