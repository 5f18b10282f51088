// WhisperNetwork: the caches of several windows, in slots, graphs that are kept for the shapes met so far, and what a
// text needs of the network: encode a window, logits for its next tokens (of many windows in one run), and how the
// cross-attention follows the sound.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "families/whisper.h"
#include "recognise/decoding.h"

namespace morph::audio {

/// Not thread-safe. Throws Error{cancelled} when the abort function said so.
class WhisperNetwork {
 public:
  struct Options {
    int n_threads = 1;
    int n_slots = 1;
    bool exact = false;        ///< caches in F32, for comparing with references
    bool keep_states = false;  ///< encoder states can be read
  };
  WhisperNetwork(std::shared_ptr<const WhisperModel> model, const Options& options);

  const WhisperModel& model() const { return *model_; }
  int n_slots() const { return caches_.n_slots; }
  void set_abort(std::function<bool()> abort) { backend_.set_abort(std::move(abort)); }

  /// `mel` [2 * n_ctx, num_mel_bins] (frames innermost), n_ctx up to max_source_positions. Replaces the slot's window.
  void encode(int slot, std::span<const float> mel, int n_ctx);
  /// With keep_states: "encoder_last" or "encoder_hidden.N" of the window encoded last, [d_model, n_ctx]; empty when
  /// there is no such state.
  std::vector<float> state(const std::string& name) const;

  /// What the window in `slot` wants to feed.
  struct Feeding {
    int slot = 0;
    const FeedRequest* request = nullptr;
  };
  /// Runs the network on all of them, in as few runs as their shapes allow (each in one of its own when `each_alone`),
  /// and calls `deliver(index, logits)` for each; the logits [vocab_size, n_outputs] are valid during the call.
  void run(std::span<const Feeding> feedings, bool each_alone,
           const std::function<void(std::size_t index, std::span<const float> logits)>& deliver);
  /// One alone; valid until the next call.
  std::span<const float> feed(int slot, const FeedRequest& request);

  /// Cross-attention scores (scaled, before the softmax) of every alignment head for `tokens`, fed from the start:
  /// [n_audio, n_tokens, n_heads], n_audio as encoded. Overwrites the slot's text.
  std::vector<float> alignment_scores(int slot, std::span<const int> tokens);
  int n_audio(int slot) const { return n_audio_[static_cast<std::size_t>(slot)]; }

  /// Rows of a slot's text: some more than the longest text, for texts side by side.
  int text_rows() const { return caches_.n_rows - 1; }
  static int text_rows(const WhisperConfig& config);
  std::size_t bytes() const;  ///< caches and scratch

 private:
  tensor::Graph& encoder_graph(int n_ctx);
  tensor::Graph& decoder_graph(const WhisperDecoderShape& shape);
  void check(const Feeding& feeding) const;
  /// Slots [first, first + n) of which `members` feed something, `n_tokens` each at most.
  void run_range(std::span<const Feeding> feedings, const std::vector<std::size_t>& members, int first, int n,
                 int n_tokens, const std::function<void(std::size_t, std::span<const float>)>& deliver);
  void fill(tensor::Graph& graph, const WhisperDecoderShape& shape, std::span<const Feeding> feedings,
            const std::vector<std::size_t>& members);

  std::shared_ptr<const WhisperModel> model_;
  Options options_;
  tensor::Backend backend_;
  WhisperCaches caches_;
  std::map<int, std::unique_ptr<tensor::Graph>> encoders_;
  std::map<WhisperDecoderShape, std::unique_ptr<tensor::Graph>> decoders_;
  std::vector<int> n_audio_;  // by slot
  int last_encoded_ = 0;
  std::vector<float> logits_;
};

}  // namespace morph::audio
