// RecordingListener: a recording, of which only speech arrives, becomes windows that are cut at pauses and heard
// together; what they give becomes one text in the recording's time. Nothing that arrives is left out: where a text
// ends before its speech does, or runs in circles, the rest is heard again, and what that does not help is told with
// its times. One window after the other with the text before it (openai/whisper transcribe.py) where that is asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "exec/wire.h"
#include "recognise/recogniser.h"

namespace morph::audio {

struct RecordingOptions {
  HearOptions hear;            ///< an empty language: found, and looked at again where the speech changes
  bool previous_text = false;  ///< a window is told the text before it; windows then follow each other
  int group = 8;               ///< windows that are heard together
  double silence_db = -60.0;   ///< samples that are all below hold nothing
  /// A run that is saved: windows are begun in rounds and what they give is taken over a round at a time, so that those
  /// under way can be begun again with the same company, and the same numbers.
  bool rounds = false;
};

/// Speech that no text was found for after every try.
struct GivenUp {
  double start_s = 0, end_s = 0;
};

/// Not thread-safe. Times are seconds of the stream.
class RecordingListener {
 public:
  RecordingListener(const RecogniserInfo& info, RecordingOptions options);
  ~RecordingListener();

  /// Sound that begins at `start_s`, later than what was pushed before; what lies between is not speech. `speech`: a
  /// detector heard speech in it.
  void push(std::span<const float> samples, double start_s, bool speech);
  void end();
  /// False while enough windows wait.
  bool wants_input() const;
  double heard_to_s() const { return pushed_to_s_; }

  /// Windows to step: begun where there is room. Empty when more must arrive first; `live` (nobody can say when more
  /// comes) hears what is there at once.
  std::vector<HearingWindow*> windows(RecogniserSession& session, bool live);
  /// Takes over windows that are done; true when the settled text grew.
  bool collect();
  bool finished() const;

  /// Everything but windows under way, which restore() begins again; for `rounds`. For another process that has the
  /// same model and options. Throws Error{format} for damaged bytes.
  void save(wire::Writer& writer) const;
  void restore(wire::Reader& reader);

  const std::vector<HeardWord>& words() const { return words_; }
  /// Language that most was said in; empty when none was found.
  std::string language() const;
  double language_probability() const;
  /// Language of the words from `first` on, up to the next entry.
  struct LanguageFrom {
    std::size_t first = 0;
    std::string language;
  };
  const std::vector<LanguageFrom>& languages() const { return languages_; }
  const std::vector<GivenUp>& given_up() const { return given_up_; }

  struct Stats {
    double encode_s = 0, decode_s = 0;
    int n_windows = 0, n_tokens = 0, n_again = 0, n_unsure = 0;
  };
  const Stats& stats() const { return stats_; }

  /// What was pushed and is in no window yet, as a window of its own: for a text of the moment.
  std::vector<float> open_samples() const { return open_.samples; }
  double open_from_s() const;
  /// A window's words in the stream's time.
  std::vector<HeardWord> open_words(std::vector<HeardWord> words) const;

 private:
  /// 32 ms or less.
  struct Chunk {
    double start_s = 0;
    std::size_t at = 0, n = 0;  ///< among the samples
    bool speech = false;
  };
  struct Sound {
    std::vector<float> samples;
    std::vector<Chunk> chunks;
    double time_of(double window_s) const;
    std::size_t n_speech() const;  ///< samples
    Sound cut(std::size_t first_chunk, std::size_t end_chunk) const;
    void save(wire::Writer& writer) const;
    static Sound restore(wire::Reader& reader);
  };
  struct Part {
    Sound sound;
    std::unique_ptr<HearingWindow> window;
    std::vector<HeardWord> words;
    std::string language;
    bool done = false;
    bool hole = false;  ///< heard again because its speech had few words or none: `otherwise`
    std::vector<HeardWord> otherwise;
    bool settled_language = false;
    int depth = 0;
    bool in_round = false;       ///< of the round under way
    std::optional<Heard> heard;  ///< in a round: waits for the others
  };
  using Parts = std::list<Part>;

  void close_window(bool all);
  void conclude_round();
  std::size_t best_cut() const;
  void begin(Part& part, RecogniserSession& session);
  void evaluate(Parts::iterator part, Heard heard);
  bool language_changed(Part& part, const Heard& heard);
  void go_on_after_loop(Parts::iterator part, std::vector<HeardWord> words);
  /// Part of a text that is heard again on its own: chunks, and the words that it replaces.
  struct Stretch {
    std::size_t first_chunk = 0, end_chunk = 0, first_word = 0, end_word = 0;
  };
  std::vector<Stretch> holes(const Part& part) const;
  std::vector<Stretch> thin_sentences(const Part& part) const;
  void hear_again(Parts::iterator part);
  bool already_said(const Part& part, const std::vector<HeardWord>& words) const;
  void settle();
  std::size_t window_samples() const { return static_cast<std::size_t>(info_.window_s * info_.rate_hz); }

  RecogniserInfo info_;
  RecordingOptions options_;
  Sound open_;
  Parts parts_;
  bool ended_ = false;
  double pushed_to_s_ = 0;
  std::vector<HeardWord> words_;
  std::vector<LanguageFrom> languages_;
  std::vector<GivenUp> given_up_;
  std::vector<int> context_;
  std::map<std::string, double> language_scores_;  ///< log probabilities by the seconds of speech they were found in
  double language_seconds_ = 0;
  std::map<std::string, double> spoken_seconds_;
  std::uint64_t n_begun_ = 0;
  Stats stats_;
};

}  // namespace morph::audio
