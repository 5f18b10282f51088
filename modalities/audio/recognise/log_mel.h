// Log-mel spectra as WhisperFeatureExtractor makes them: 25 ms Hann windows every 10 ms at 16 kHz, reflected at the
// ends, a Slaney mel bank, log10, and 8 decades of range below the loudest value of the window, mapped to about -1..1.
//
// The transform is two matrix products on the tensor library (a windowed DFT, then the mel bank): at this frame size
// that is as fast as an FFT, and it runs on the same threads.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "tensor/graph.h"

namespace morph::audio {

/// Not thread-safe.
class LogMel {
 public:
  static constexpr int kRate = 16000, kHop = 160, kFrame = 400;

  LogMel(int n_mel, int n_threads);

  int n_mel() const { return n_mel_; }
  /// `samples` at 16 kHz, followed by silence up to `n_frames` frames (n_frames * 160 samples); more samples are cut.
  /// -> [n_frames, n_mel], frames innermost, as the model takes them.
  std::vector<float> operator()(std::span<const float> samples, int n_frames);

 private:
  tensor::Graph& graph(int n_frames);

  int n_mel_;
  tensor::Backend backend_;
  tensor::ContextHandle context_;
  tensor::BufferHandle buffer_;
  ggml_tensor* window_ = nullptr;  // [400, 1, 1] shape of the framing only
  ggml_tensor* dft_ = nullptr;     // [400, 402] cosines, then sines
  ggml_tensor* bank_ = nullptr;    // [402, n_mel] the bank for both halves
  std::map<int, std::unique_ptr<tensor::Graph>> graphs_;
};

}  // namespace morph::audio
