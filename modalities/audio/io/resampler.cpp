// See resampler.h. Quality SOXR_HQ (20 bit, linear phase), one thread: the engine's scheduler owns the threads.
#include "io/resampler.h"

#include <fmt/format.h>
#include <soxr.h>

#include <cmath>

#include "morph/error.h"

namespace morph::audio {

Resampler::Resampler(int from_hz, int to_hz, int channels)
    : ratio_(static_cast<double>(to_hz) / from_hz), channels_(static_cast<std::size_t>(channels)) {
  const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
  const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
  const soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
  soxr_error_t error = nullptr;
  soxr_ = soxr_create(from_hz, to_hz, static_cast<unsigned>(channels), &error, &io, &quality, &runtime);
  if (error != nullptr || soxr_ == nullptr)
    throw Error(ErrorCode::config, "audio/resample",
                fmt::format("cannot resample {} Hz to {} Hz with {} channels: {}", from_hz, to_hz, channels,
                            error != nullptr ? error : "no resampler"));
}

Resampler::~Resampler() { soxr_delete(soxr_); }

void Resampler::process(std::span<const float> in, std::vector<float>& out) {
  if (!in.empty()) pump(in.data(), in.size() / channels_, out);
}

void Resampler::finish(std::vector<float>& out) { pump(nullptr, 0, out); }

void Resampler::clear() { soxr_clear(soxr_); }

void Resampler::pump(const float* in, std::size_t n_frames, std::vector<float>& out) {
  const bool last = in == nullptr;
  for (std::size_t used = 0;;) {
    const std::size_t room = static_cast<std::size_t>(std::ceil(static_cast<double>(n_frames - used) * ratio_)) + 1024;
    const std::size_t before = out.size();
    out.resize(before + room * channels_);
    std::size_t n_used = 0, n_made = 0;
    const soxr_error_t error = soxr_process(soxr_, last ? nullptr : in + used * channels_, n_frames - used, &n_used,
                                            out.data() + before, room, &n_made);
    out.resize(before + n_made * channels_);
    if (error != nullptr) throw Error(ErrorCode::internal, "audio/resample", error);
    used += n_used;
    if (last ? n_made == 0 : (used >= n_frames && n_made < room)) return;
  }
}

}  // namespace morph::audio
