// Listener: audio in, heard text out. Two ways of listening on one session:
//
// - a file: 30 s windows that follow each other by the timestamps the model writes (openai/whisper transcribe.py);
// - turns: the unfinished turn is heard again as it grows; words on which two hearings agree are stable
//   (LocalAgreement-2, Macháček et al. 2023, "Turning Whisper into Real-Time Transcription System"), and audio of
//   sentences that are stable is not heard again.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "morph/text.h"
#include "recognise/log_mel.h"
#include "recognise/window_decoder.h"

namespace morph::audio {

struct ListenOptions {
  DecodeOptions decode;
  std::string language = "auto";
  bool exact_window = true;   ///< always encode 30 s; otherwise only as much as there is audio
  bool previous_text = true;  ///< a window is told the text before it
  double silence_db = -60.0;  ///< windows whose loudest sample is below hold nothing
  std::uint64_t seed = 0;
};

struct ListenStats {
  double encode_s = 0, decode_s = 0, mel_s = 0;
  int n_windows = 0, n_tokens = 0;
};

/// Not thread-safe. Times in the spans are seconds since the first sample that was pushed.
class Listener {
 public:
  Listener(std::shared_ptr<const WhisperModel> model, int n_threads, ListenOptions options);

  /// 16 kHz mono samples.
  void push(std::span<const float> samples);
  double heard_s() const;    ///< samples pushed so far, in seconds
  double pending_s() const;  ///< of which not yet settled

  /// File: hears the next window when a whole one is there (or whatever is left, when `last`). False when nothing was
  /// done.
  bool hear_window(bool last);
  /// Turn: hears the unsettled audio. `careful` (at a pause) tries again where a text looks wrong; otherwise a doubtful
  /// hearing changes nothing.
  void hear_turn(bool careful);

  const std::vector<TextSpan>& settled() const { return settled_; }
  /// Settled text and, for turns, the latest hearing of the rest.
  std::string text() const;
  std::vector<TextSpan> spans() const;
  std::size_t stable_bytes() const { return stable_bytes_; }
  const std::string& language() const { return language_; }
  /// A new turn: forgets text and audio; times go on. Language, once found, is kept.
  void clear();
  /// Drops the oldest unsettled audio beyond `seconds` (before a turn begins).
  void keep_last(double seconds);

  void set_cancelled(std::function<bool()> cancelled);
  const ListenStats& stats() const { return stats_; }
  std::size_t session_bytes() const { return session_.bytes(); }

 private:
  struct Heard {
    std::vector<TextSpan> spans;  // in seconds since the window's start
    std::vector<int> tokens;      // text tokens, for the next window's prompt
    double next_s = 0;            // where the next window starts
    double temperature = 0;
    bool doubtful = false;  // it repeats itself, or the model was unsure
  };
  Heard hear(std::span<const float> samples, bool fallback, bool more_follows);
  Heard split(const WindowText& text, double window_s, bool more_follows) const;
  bool quiet(std::span<const float> samples) const;
  void settle(const TextSpan& span, double offset_s);
  std::size_t first_open_word(const std::vector<std::string>& heard) const;

  std::shared_ptr<const WhisperModel> model_;
  ListenOptions options_;
  WhisperTokens tokens_;
  LogMel mel_;
  WhisperSession session_;
  std::function<bool()> cancelled_;
  WindowDecoder decoder_;

  std::vector<float> samples_;  // not yet settled
  std::size_t n_before_ = 0;    // samples that were pushed and dropped
  std::vector<TextSpan> settled_, tail_;
  std::vector<int> previous_;        // tokens of the settled text
  std::vector<std::string> stable_;  // the turn's words that will not change any more
  std::size_t stable_bytes_ = 0;
  std::string language_;
  ListenStats stats_;
};

}  // namespace morph::audio
