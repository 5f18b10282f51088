// WhisperSession: windows of one recording and of many runs, heard together on one network. A window waits for a slot,
// is encoded, and its text and those of the others grow side by side; a slot that is free takes the next window.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "recognise/log_mel.h"
#include "recognise/recogniser.h"
#include "recognise/whisper_network.h"
#include "recognise/whisper_tokens.h"
#include "recognise/window_decoder.h"

namespace morph::audio {

class WhisperWindow;

/// See RecogniserSession for threads.
class WhisperSession final : public RecogniserSession {
 public:
  WhisperSession(std::shared_ptr<const WhisperModel> model, const RecogniserUse& use);
  ~WhisperSession() override;

  int max_windows() const override { return use_.max_windows; }
  std::unique_ptr<HearingWindow> begin(std::vector<float> samples, const HearOptions& options) override;
  void step(std::span<HearingWindow* const> windows, const std::function<bool()>& stop) override;
  std::size_t bytes() const override;

 private:
  friend class WhisperWindow;

  /// Makes room for `n` windows at once, if none is under way.
  void grow(int n);
  bool take_slot(WhisperWindow& window);
  void begin_window(WhisperWindow& window);
  void decode_on(std::span<WhisperWindow* const> windows);
  void finish_window(WhisperWindow& window);
  std::vector<HeardWord> words(const WhisperWindow& window, const WindowText& text, const std::string& language);
  /// Words with times shared out between the text's timestamps, and the tokens of each.
  std::vector<HeardWord> words_by_timestamps(const WindowText& text, const std::string& language, double sound_s,
                                             std::vector<std::size_t>& n_tokens) const;

  std::shared_ptr<const WhisperModel> model_;
  RecogniserUse use_;
  WhisperTokens tokens_;
  LogMel mel_;
  std::string prompt_;  ///< people's words as met last, and their tokens
  std::vector<int> prompt_tokens_;
  std::unique_ptr<WhisperNetwork> network_;
  std::vector<std::atomic<bool>> taken_;  ///< by slot; freed by windows on any thread
};

}  // namespace morph::audio
