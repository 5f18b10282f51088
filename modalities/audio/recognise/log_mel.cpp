// Reference: transformers' audio_utils (mel_filter_bank with norm and scale "slaney", spectrogram, log10) and
// feature_extraction_whisper.py.
#include "recognise/log_mel.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace morph::audio {
namespace {

constexpr int kBins = LogMel::kFrame / 2 + 1;
constexpr std::size_t kMaxGraphs = 8;

/// Slaney's mel scale: linear below 1 kHz, logarithmic above.
double hz_to_mel(double hz) {
  return hz < 1000.0 ? 3.0 * hz / 200.0 : 15.0 + std::log(hz / 1000.0) * 27.0 / std::log(6.4);
}
double mel_to_hz(double mel) {
  return mel < 15.0 ? 200.0 * mel / 3.0 : 1000.0 * std::exp(std::log(6.4) / 27.0 * (mel - 15.0));
}

std::vector<float> windowed_dft() {
  std::vector<float> matrix(static_cast<std::size_t>(2 * kBins * LogMel::kFrame));
  for (int bin = 0; bin < kBins; ++bin)
    for (int i = 0; i < LogMel::kFrame; ++i) {
      const double window = 0.5 - 0.5 * std::cos(2.0 * std::numbers::pi * i / LogMel::kFrame);
      const double angle = 2.0 * std::numbers::pi * ((bin * i) % LogMel::kFrame) / LogMel::kFrame;
      matrix[static_cast<std::size_t>(bin * LogMel::kFrame + i)] = static_cast<float>(window * std::cos(angle));
      matrix[static_cast<std::size_t>((kBins + bin) * LogMel::kFrame + i)] =
          static_cast<float>(window * std::sin(angle));
    }
  return matrix;
}

/// Triangles of equal area between 0 and 8 kHz, twice side by side (for the two halves of the transform).
std::vector<float> mel_bank(int n_mel) {
  std::vector<double> edges(static_cast<std::size_t>(n_mel) + 2);
  const double top = hz_to_mel(LogMel::kRate / 2.0);
  for (std::size_t i = 0; i < edges.size(); ++i) edges[i] = mel_to_hz(top * static_cast<double>(i) / (n_mel + 1));
  std::vector<float> bank(static_cast<std::size_t>(n_mel * 2 * kBins));
  for (std::size_t m = 0; m < static_cast<std::size_t>(n_mel); ++m)
    for (int bin = 0; bin < kBins; ++bin) {
      const double hz = static_cast<double>(bin) * LogMel::kRate / LogMel::kFrame;
      const double up = (hz - edges[m]) / (edges[m + 1] - edges[m]);
      const double down = (edges[m + 2] - hz) / (edges[m + 2] - edges[m + 1]);
      const double weight = std::max(0.0, std::min(up, down)) * 2.0 / (edges[m + 2] - edges[m]);
      const std::size_t row = m * 2 * kBins + static_cast<std::size_t>(bin);
      bank[row] = bank[row + kBins] = static_cast<float>(weight);
    }
  return bank;
}

/// Half a frame of mirrored samples on either side of the (zero-padded) signal.
std::vector<float> padded(std::span<const float> samples, std::size_t n) {
  constexpr std::size_t kHalf = LogMel::kFrame / 2;
  std::vector<float> signal(n + 2 * kHalf, 0.0f);
  std::copy_n(samples.begin(), std::min(samples.size(), n), signal.begin() + kHalf);
  for (std::size_t i = 1; i <= kHalf; ++i) {
    signal[kHalf - i] = i < n ? signal[kHalf + i] : 0.0f;
    signal[kHalf + n - 1 + i] = i < n ? signal[kHalf + n - 1 - i] : 0.0f;
  }
  return signal;
}

}  // namespace

LogMel::LogMel(int n_mel, int n_threads)
    : n_mel_(n_mel), backend_("cpu", n_threads), context_(tensor::make_context(4)) {
  window_ = ggml_new_tensor_3d(context_.get(), GGML_TYPE_F32, kFrame, 1, 1);
  dft_ = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, kFrame, 2 * kBins);
  bank_ = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, 2 * kBins, n_mel);
  buffer_ = tensor::allocate(context_.get(), backend_, "mel filters");
  const std::vector<float> dft = windowed_dft(), bank = mel_bank(n_mel);
  ggml_backend_tensor_set(dft_, dft.data(), 0, ggml_nbytes(dft_));
  ggml_backend_tensor_set(bank_, bank.data(), 0, ggml_nbytes(bank_));
}

tensor::Graph& LogMel::graph(int n_frames) {
  if (graphs_.size() > kMaxGraphs) graphs_.clear();
  std::unique_ptr<tensor::Graph>& slot = graphs_[n_frames];
  if (!slot)
    slot = std::make_unique<tensor::Graph>(backend_, 16, [&](tensor::GraphBuilder& g) {
      // The last frame that the reference computes, and drops, is left out.
      const std::int64_t n = static_cast<std::int64_t>(n_frames - 1) * kHop + kFrame;
      ggml_tensor* signal = g.input("signal", GGML_TYPE_F32, {n, 1});
      ggml_tensor* frames =
          ggml_im2col(g.ctx, window_, signal, kHop, 0, 0, 0, 1, 0, false, GGML_TYPE_F32);  // [400, n_frames]
      ggml_tensor* spectrum = ggml_sqr(g.ctx, ggml_mul_mat(g.ctx, dft_, frames));          // [402, n_frames]
      // [n_frames, n_mel]: frames innermost.
      g.output("mel", ggml_mul_mat(g.ctx, spectrum, bank_));
    });
  return *slot;
}

std::vector<float> LogMel::operator()(std::span<const float> samples, int n_frames) {
  std::vector<float> signal = padded(samples, static_cast<std::size_t>(n_frames) * kHop);
  signal.resize(static_cast<std::size_t>(n_frames - 1) * kHop + kFrame);
  tensor::Graph& mel_graph = graph(n_frames);
  mel_graph.set("signal", signal);
  mel_graph.run();
  std::vector<float> mel = mel_graph.get_f32("mel");
  float loudest = -10.0f;
  for (float& value : mel) {
    value = std::log10(std::max(value, 1e-10f));
    loudest = std::max(loudest, value);
  }
  for (float& value : mel) value = (std::max(value, loudest - 8.0f) + 4.0f) / 4.0f;
  return mel;
}

}  // namespace morph::audio
