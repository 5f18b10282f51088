// WhisperSession: the state of one listener: caches, graphs that are kept for the shapes met so far, and the two things
// a decoder needs from the network: encode a window, and logits for the next tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "recognise/whisper.h"

namespace morph::audio {

/// One token of a text that shares the cache with others.
struct WhisperBranch {
  int token = 0;
  int position = 0;           ///< in the whole sequence, prompt included
  std::span<const int> rows;  ///< of the cache, of its text so far after the prompt; the last is the token's own
};

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
  /// One more token of several texts that follow one prompt of `n_prompt` tokens (rows 0 to n_prompt - 1); logits
  /// [vocab_size, n_branches]. Valid until the next call.
  std::span<const float> decode_branches(std::span<const WhisperBranch> branches, int n_prompt);
  /// Rows of the self-attention cache: some more than the longest text, for texts side by side.
  int cache_rows() const { return static_cast<int>(self_.n_ctx()); }
  /// Rows that a model's session makes.
  static int cache_rows(const WhisperConfig& config);

  std::size_t bytes() const;  ///< caches and scratch

 private:
  tensor::Graph& encoder_graph(int n_ctx);
  tensor::Graph& decoder_graph(const WhisperDecoderShape& shape);
  /// Runs a decoder graph whose mask is in mask_.
  std::span<const float> run_decoder(const WhisperDecoderShape& shape, std::span<const int> tokens,
                                     std::span<const std::int32_t> positions, std::span<const std::int64_t> rows,
                                     std::span<const int> outputs);
  void check_tokens(int n_past, int n, std::span<const int> tokens) const;

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
