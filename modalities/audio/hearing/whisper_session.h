// WhisperSession: the state of one listener: caches, graphs that are kept for the shapes met so far, and the two things
// a decoder needs from the network: encode a window, and logits for the next tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "hearing/whisper.h"

namespace morph::audio {

/// Not thread-safe. Throws Error{cancelled} when the abort function said so.
class WhisperSession {
 public:
  struct Options {
    int n_threads = 1;
    bool exact = false;        ///< caches in F32, for comparing with references
    bool keep_states = false;  ///< encoder states can be read
  };
  WhisperSession(std::shared_ptr<const WhisperModel> model, const Options& options);

  const WhisperModel& model() const { return *model_; }
  void set_abort(std::function<bool()> abort) { backend_.set_abort(std::move(abort)); }

  /// `mel` [2 * n_ctx, num_mel_bins] (frames innermost), n_ctx up to max_source_positions. Replaces the last window.
  void encode(std::span<const float> mel, int n_ctx);
  /// With keep_states: "encoder_last" or "encoder_hidden.N" of the last window, [d_model, n_ctx]; empty when there is
  /// no such state.
  std::vector<float> state(const std::string& name) const;

  /// Feeds tokens after the first `n_past` ones that were fed before and returns logits [vocab_size, n_outputs] after
  /// the tokens with the indices `outputs`. Valid until the next call.
  std::span<const float> decode(std::span<const int> tokens, int n_past, std::span<const int> outputs);
  std::span<const float> decode_next(int token, int n_past);

  std::size_t bytes() const;  ///< caches and scratch

 private:
  tensor::Graph& encoder_graph(int n_ctx);
  tensor::Graph& decoder_graph(const WhisperDecoderShape& shape);

  std::shared_ptr<const WhisperModel> model_;
  Options options_;
  tensor::Backend backend_;
  tensor::KvCache self_, cross_;
  std::map<int, std::unique_ptr<tensor::Graph>> encoders_;
  std::map<WhisperDecoderShape, std::unique_ptr<tensor::Graph>> decoders_;
  int n_audio_ = 0;
  std::vector<float> logits_;
  std::vector<ggml_fp16_t> mask_;
};

}  // namespace morph::audio
