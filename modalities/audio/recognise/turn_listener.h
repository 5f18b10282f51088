// TurnListener: the text of a turn while it is spoken. The unfinished turn is heard again as it grows; words on which
// two hearings agree are stable (LocalAgreement-2, Macháček et al. 2023, "Turning Whisper into Real-Time Transcription
// System"), and sound of sentences that are stable is not heard again. A hearing that has more to say than there was
// time for is made anew in a whole window: short windows make some models babble.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "exec/wire.h"
#include "morph/text.h"
#include "recognise/recogniser.h"

namespace morph::audio {

struct TurnOptions {
  HearOptions hear;
  double silence_db = -60.0;  ///< a turn whose loudest sample is below holds nothing
};

/// Not thread-safe. Times in the spans are seconds since the first sample that was pushed.
class TurnListener {
 public:
  TurnListener(const RecogniserInfo& info, TurnOptions options);

  void push(std::span<const float> samples, bool speech);
  double heard_s() const;  ///< samples pushed so far, in seconds

  /// Begins to hear what is not settled; step its window, then finish(). `careful` (at a pause) tries again where a
  /// text looks wrong; otherwise a doubtful hearing changes nothing.
  void begin(RecogniserSession& session, bool careful);
  HearingWindow* window() const { return window_.get(); }
  /// Takes over what was heard. False when it began to hear again (more than a window was there, or it babbled).
  bool finish(RecogniserSession& session);
  void stop() { window_.reset(); }

  /// Settled text and the latest hearing of the rest.
  std::string text() const;
  std::vector<TextSpan> spans() const;
  std::size_t stable_bytes() const { return stable_bytes_; }
  const std::string& language() const { return language_; }
  double language_probability() const { return language_probability_; }
  /// A new turn: forgets text and sound; times go on. Language, once found, is kept.
  void clear();
  /// Drops the oldest unsettled sound beyond `seconds` (before a turn begins).
  void keep_last(double seconds);

  /// Everything but a window under way, which is to be begun again. For another process that has the same model and
  /// options. Throws Error{format} for damaged bytes.
  void save(wire::Writer& writer) const;
  void restore(wire::Reader& reader);

  struct Stats {
    double encode_s = 0, decode_s = 0;
    int n_windows = 0, n_tokens = 0, n_again = 0;
  };
  const Stats& stats() const { return stats_; }

 private:
  bool quiet() const;
  std::size_t quiet_cut(std::size_t most) const;
  void take(std::vector<TextSpan> spans, bool settle_all);
  std::size_t first_open_word(const std::vector<std::string>& heard) const;
  void drop(std::size_t n);

  RecogniserInfo info_;
  TurnOptions options_;
  std::unique_ptr<HearingWindow> window_;
  bool careful_ = false, whole_ = false;  ///< of the hearing under way; whole: in the length the model knows
  std::size_t hearing_ = 0;               ///< samples of it
  std::vector<float> samples_;            ///< not yet settled
  std::size_t n_before_ = 0;              ///< samples that were pushed and dropped
  std::vector<TextSpan> settled_, tail_;
  std::vector<std::string> stable_;  ///< the turn's words that will not change any more
  std::size_t stable_bytes_ = 0;
  std::vector<int> context_;
  std::string language_;
  double language_probability_ = 0;
  std::size_t n_speech_ = 0;  ///< samples of speech among the unsettled
  Stats stats_;
};

}  // namespace morph::audio
