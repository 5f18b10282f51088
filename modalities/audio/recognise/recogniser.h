// Recogniser: the job of writing down speech (DESIGN, "Jobs"). The stage audio/transcribe drives one and knows no
// family; a family is one file in modalities/audio/families/, which adds itself to the registry's RecogniserFamilies.
//
// A recogniser hears windows: at most info().window_s of sound, each on its own. Windows of one recording and of
// several runs are stepped together by one session, which holds the one set of graphs and caches that all of them
// share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "morph/model.h"
#include "morph/registry.h"
#include "morph/stage.h"

namespace morph::audio {

/// What is known of a recogniser from its small files.
struct RecogniserInfo {
  std::string family;  ///< "whisper"
  std::filesystem::path folder;
  int rate_hz = 16000;                 ///< mono
  double window_s = 30.0;              ///< most that is heard at once
  std::vector<std::string> languages;  ///< codes, sorted; one for a model of one language
  bool translates = false;             ///< into English
  bool word_times = false;             ///< can say when each word was said
};

struct HearOptions {
  std::string language;      ///< a code; empty: found from the window itself
  bool translating = false;  ///< into English
  bool exact_window = true;  ///< hears as in training, however short the sound (slower for short ones)
  bool word_times = true;    ///< words get times of their own
  bool time_tokens = true;   ///< the text itself tells times of sentences, where a model can do that
  std::string prompt;        ///< people's words: names and terms that may occur
  std::vector<int> context;  ///< Heard::context of what was said before; empty: none
  std::vector<double> temperatures{0.0, 0.2, 0.4, 0.6, 0.8, 1.0};
  double max_compression = 2.4;  ///< above: the text repeats itself
  double min_logprob = -1.0;     ///< mean per token; below: the model is unsure
  double max_no_speech = 0.6;    ///< above, and unsure: there is no speech
  int beam_size = 5;             ///< texts followed side by side at temperature 0; 1: none
  int best_of = 1;               ///< texts drawn at a temperature above 0, of which the likeliest is kept
  std::uint64_t seed = 0;
  bool strict = false;  ///< what is heard does not depend on the windows beside it
};

struct HeardWord {
  std::string text;               ///< as written, with the space before it
  double start_s = 0, end_s = 0;  ///< in the window; equal when unknown
  float probability = 1.0f;
};

/// What was heard in one window.
struct Heard {
  std::vector<HeardWord> words;
  std::string language;
  double language_probability = 1.0;  ///< of `language` among all; 1 when it was given
  /// Log probabilities of the likeliest languages, best first; empty when the language was given.
  std::vector<std::pair<std::string, double>> languages;
  double mean_logprob = 0, no_speech = 0, compression = 0, temperature = 0;
  bool silent = false;  ///< judged to hold no speech
  bool looped =
      false;  ///< repeats itself over and over at every temperature: `words` is what came before it was stopped
  bool unsure = false;       ///< below min_logprob at every temperature
  std::vector<int> context;  ///< for the next window's HearOptions::context
  int n_tokens = 0;          ///< computed, over all attempts
  double encode_s = 0, decode_s = 0;

  std::string text() const {
    std::string all;
    for (const HeardWord& word : words) all += word.text;
    return all;
  }
};

/// A window that is being heard. Destroying it drops what was begun; any thread, but not while it is stepped. Must not
/// outlive its session.
class HearingWindow {
 public:
  virtual ~HearingWindow() = default;
  virtual bool done() const = 0;
  virtual Heard take() = 0;  ///< once, when done
};

/// What all windows of one loaded stage share. begin() may be called from any thread, step() from one at a time.
class RecogniserSession {
 public:
  virtual ~RecogniserSession() = default;
  /// Windows that are stepped together at most; more may be begun, and wait.
  virtual int max_windows() const = 0;
  /// `samples`: at most window_s; longer ones are an Error{internal}.
  virtual std::unique_ptr<HearingWindow> begin(std::vector<float> samples, const HearOptions& options) = 0;
  /// Advances the windows together by a bounded amount of work, less when `stop` says so between its parts. Throws what
  /// fails for all of them.
  virtual void step(std::span<HearingWindow* const> windows, const std::function<bool()>& stop) = 0;
  virtual std::size_t bytes() const = 0;
};

struct RecogniserUse {
  int n_threads = 1;
  int max_windows = 8;
};

/// Loaded weights. Immutable, thread-safe.
class Recogniser : public Model {
 public:
  virtual const RecogniserInfo& info() const = 0;
  virtual std::shared_ptr<RecogniserSession> open(const RecogniserUse& use) const = 0;
  /// Throws Error{config} for a language, task or prompt that it cannot do. Cheap.
  virtual void check(const HearOptions& options) const = 0;
};

struct RecogniserLoad {
  ModelStore& models;
  std::string device = "cpu";
  int n_threads = 1;
  bool exact = false;  ///< every weight in 32 bits
  std::function<void(double)> progress{};
};

/// A family of recognisers. Functions may be called from any thread.
struct RecogniserFamily {
  std::string_view name;
  std::string_view files;  ///< what a folder of it holds, for the error that no family knows a folder
  bool (*recognise)(const std::filesystem::path& folder);
  /// Reads small files only. Throws Error{weights} naming the file and key that is wrong.
  RecogniserInfo (*describe)(const std::filesystem::path& folder);
  /// Costs on `device`; `n_windows`: that are heard together.
  Estimate (*estimate)(const std::filesystem::path& folder, const std::string& device, bool exact, int n_windows,
                       int beam_size);
  std::shared_ptr<const Recogniser> (*load)(const std::filesystem::path& folder, const RecogniserLoad& load);
};

/// The families of a registry: Registry::part<RecogniserFamilies>().
struct RecogniserFamilies {
  std::vector<RecogniserFamily> all;

  /// Family of the checkpoint in a folder; throws Error{weights} that lists what is understood.
  const RecogniserFamily& find(const std::filesystem::path& folder) const;
};

}  // namespace morph::audio
