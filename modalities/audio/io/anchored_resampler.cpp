// See anchored_resampler.h.
#include "io/anchored_resampler.h"

#include <algorithm>
#include <numeric>

namespace morph::audio {
namespace {

constexpr double kBlockSeconds = 5.0, kLeadSeconds = 0.25;
constexpr double kFilterSamples = 512;  ///< of the lower rate: more than soxr's HQ filters span

/// The fewest whole `unit`s of frames that last at least `seconds`.
std::size_t whole_units(double seconds, int rate_hz, int unit) {
  const auto frames = static_cast<std::size_t>(seconds * rate_hz);
  const auto step = static_cast<std::size_t>(unit);
  return std::max<std::size_t>(1, (frames + step - 1) / step);
}

}  // namespace

AnchoredResampler::AnchoredResampler(int from_hz, int to_hz, int channels) : resampler_(from_hz, to_hz, channels) {
  const int common = std::gcd(from_hz, to_hz), unit_in = from_hz / common, unit_out = to_hz / common;
  const auto n_channels = static_cast<std::size_t>(channels);
  const double lead_s = std::max(kLeadSeconds, kFilterSamples / std::min(from_hz, to_hz));
  const std::size_t lead = whole_units(lead_s, from_hz, unit_in);
  const std::size_t block = std::max(whole_units(kBlockSeconds, from_hz, unit_in), 4 * lead);
  lead_in_ = lead * static_cast<std::size_t>(unit_in) * n_channels;
  lead_out_ = lead * static_cast<std::size_t>(unit_out) * n_channels;
  block_in_ = block * static_cast<std::size_t>(unit_in) * n_channels;
  block_out_ = block * static_cast<std::size_t>(unit_out) * n_channels;
  step_ = static_cast<std::size_t>(from_hz) * n_channels;
}

void AnchoredResampler::process(std::span<const float> in, std::vector<float>& out) {
  while (!in.empty()) {  // bounded steps: what lies beyond an anchor is fed twice
    const std::size_t n = std::min(step_, in.size());
    feed(in.first(n), out);
    in = in.subspan(n);
  }
}

void AnchoredResampler::feed(std::span<const float> in, std::vector<float>& out) {
  history_.insert(history_.end(), in.begin(), in.end());
  resampler_.process(in, made_);
  while (deliver(out, false)) {
    const std::size_t anchor = (led_in_ ? lead_in_ : 0) + block_in_;
    history_.erase(history_.begin(), history_.begin() + static_cast<std::ptrdiff_t>(anchor - lead_in_));
    resampler_.clear();
    made_.clear();
    led_in_ = true;
    n_drop_ = lead_out_;
    n_block_ = 0;
    resampler_.process(history_, made_);
  }
}

/// Moves what was made to `out`, up to the next anchor; true when that is reached.
bool AnchoredResampler::deliver(std::vector<float>& out, bool last) {
  const std::size_t n_drop = std::min(n_drop_, made_.size());
  n_drop_ -= n_drop;
  const std::size_t n = last ? made_.size() - n_drop : std::min(made_.size() - n_drop, block_out_ - n_block_);
  const auto begin = made_.begin() + static_cast<std::ptrdiff_t>(n_drop);
  out.insert(out.end(), begin, begin + static_cast<std::ptrdiff_t>(n));
  made_.erase(made_.begin(), begin + static_cast<std::ptrdiff_t>(n));
  n_block_ += n;
  return n_block_ == block_out_ && !last;
}

void AnchoredResampler::finish(std::vector<float>& out) {
  resampler_.finish(made_);
  deliver(out, true);
}

void AnchoredResampler::clear() {
  resampler_.clear();
  history_.clear();
  made_.clear();
  n_drop_ = n_block_ = 0;
  led_in_ = false;
}

void AnchoredResampler::save(wire::Writer& writer) const {
  writer.boolean(led_in_);
  writer.u64(n_block_);
  writer.floats(history_);
}

void AnchoredResampler::restore(wire::Reader& reader) {
  clear();
  led_in_ = reader.boolean();
  n_block_ = static_cast<std::size_t>(reader.u64());
  if (n_block_ >= block_out_) reader.fail("expected a place before the resampler's next anchor");
  history_ = reader.floats();
  // What was delivered is made again and dropped.
  n_drop_ = (led_in_ ? lead_out_ : 0) + n_block_;
  resampler_.process(history_, made_);
  const std::size_t n_drop = std::min(n_drop_, made_.size());
  made_.erase(made_.begin(), made_.begin() + static_cast<std::ptrdiff_t>(n_drop));
  n_drop_ -= n_drop;
}

}  // namespace morph::audio
