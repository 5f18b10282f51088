// RecordingListener without weights: a made-up recogniser hears "words" that are blocks of a level of their own, and
// has the faults that real ones have (it ends early, runs in circles, takes one language for another). Whatever pauses
// there are, each word must come once, in order and at its time.
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "recognise/heard_text.h"
#include "recognise/recording_listener.h"

namespace morph::audio {
namespace {

constexpr int kRate = 16000;

struct Said {
  int id = 0;
  double start_s = 0, end_s = 0;
};

/// Faults of the made-up recogniser.
struct Faults {
  std::size_t most_words = 1000;  ///< says no more of a window
  bool loops = false;             ///< stops after ten equal words in a row
  bool crams = false;             ///< and makes them up within a moment
};

class ToyWindow final : public HearingWindow {
 public:
  explicit ToyWindow(Heard heard) : heard_(std::move(heard)) {}
  bool done() const override { return true; }
  Heard take() override { return std::move(heard_); }

 private:
  Heard heard_;
};

class ToySession final : public RecogniserSession {
 public:
  explicit ToySession(Faults faults) : faults_(faults) {}
  int max_windows() const override { return 8; }
  void step(std::span<HearingWindow* const>, const std::function<bool()>&) override {}
  std::size_t bytes() const override { return 0; }

  std::unique_ptr<HearingWindow> begin(std::vector<float> samples, const HearOptions& options) override {
    longest_s = std::max(longest_s, static_cast<double>(samples.size()) / kRate);
    Heard heard;
    heard.language = options.language.empty() ? "en" : options.language;
    std::size_t equal = 0;
    for (std::size_t at = 0; at < samples.size();) {
      if (samples[at] == 0.0f) {
        ++at;
        continue;
      }
      std::size_t end = at;
      while (end < samples.size() && samples[end] == samples[at]) ++end;
      if (at == 0 || end == samples.size()) ++n_cut;
      const int id = static_cast<int>(std::lround(static_cast<double>(samples[at]) * 10000));
      HeardWord word{" w" + std::to_string(id), static_cast<double>(at) / kRate, static_cast<double>(end) / kRate,
                     1.0f};
      equal = !heard.words.empty() && heard.words.back().text == word.text ? equal + 1 : 0;
      heard.words.push_back(word);
      at = end;
      if (faults_.loops && equal >= 9) {
        heard.looped = true;
        break;
      }
      if (heard.words.size() >= faults_.most_words) break;
    }
    if (heard.looped && faults_.crams)
      for (int i = 0; i < 20; ++i)
        heard.words.push_back({" w999", heard.words.back().end_s, heard.words.back().end_s, 1.0f});
    heard.silent = heard.words.empty();
    ++n_windows;
    return std::make_unique<ToyWindow>(std::move(heard));
  }

  double longest_s = 0;
  int n_cut = 0, n_windows = 0;

 private:
  Faults faults_;
};

RecogniserInfo toy_info() {
  RecogniserInfo info;
  info.languages = {"en"};
  return info;
}

/// Feeds words as a detector of speech would leave them: stretches with a little silence around, what lies between left
/// out. Returns what was heard.
struct Outcome {
  std::vector<HeardWord> words;
  std::vector<GivenUp> given_up;
};
Outcome hear(const std::vector<Said>& said, ToySession& session, double total_s, const RecordingOptions& options = {}) {
  std::vector<float> samples(static_cast<std::size_t>(total_s * kRate), 0.0f);
  for (const Said& word : said)
    std::fill(samples.begin() + static_cast<std::ptrdiff_t>(word.start_s * kRate),
              samples.begin() + static_cast<std::ptrdiff_t>(word.end_s * kRate),
              static_cast<float>(word.id) / 10000.0f);
  RecordingListener listener(toy_info(), options);
  const auto run = [&] {
    for (;;) {
      const auto windows = listener.windows(session, false);
      if (windows.empty()) break;
      session.step(windows, {});
      listener.collect();
    }
  };
  std::size_t last_speech = 0;
  bool any = false;
  for (std::size_t at = 0; at < samples.size(); at += 512) {
    const std::span<const float> chunk(samples.data() + at, std::min<std::size_t>(512, samples.size() - at));
    const bool speech = std::any_of(chunk.begin(), chunk.end(), [](float x) { return x != 0.0f; });
    const std::size_t ahead = std::min(samples.size(), at + 512 + 4800);
    const bool soon =
        std::any_of(samples.begin() + static_cast<std::ptrdiff_t>(at),
                    samples.begin() + static_cast<std::ptrdiff_t>(ahead), [](float x) { return x != 0.0f; });
    if (speech) {
      last_speech = at;
      any = true;
    }
    if (soon || (any && at < last_speech + 8000)) listener.push(chunk, static_cast<double>(at) / kRate, speech);
    if (!listener.wants_input()) run();
  }
  listener.end();
  run();
  CHECK(listener.finished());
  return {listener.words(), listener.given_up()};
}

void check_equal(const std::vector<Said>& said, const std::vector<HeardWord>& heard) {
  std::string texts;
  for (const HeardWord& word : heard) texts += word.text;
  INFO("heard:" << texts);
  REQUIRE(heard.size() == said.size());
  double worst = 0, last = 0;
  bool same = true;
  for (std::size_t i = 0; i < said.size(); ++i) {
    same = same && heard[i].text == " w" + std::to_string(said[i].id);
    worst = std::max({worst, std::fabs(heard[i].start_s - said[i].start_s)});
    CHECK(heard[i].start_s >= last);
    last = heard[i].start_s;
  }
  CHECK(same);
  CHECK(worst < 0.05);
}

/// Words of 0.15 to 0.6 s; pauses as `pause` draws them.
template <class Pause>
std::vector<Said> speech(std::mt19937& random, int n, Pause pause, double* total_s) {
  std::uniform_real_distribution<double> length(0.15, 0.6);
  std::vector<Said> said;
  double at = pause(random);
  for (int i = 0; i < n; ++i) {
    const double end = at + length(random);
    said.push_back({i + 1, at, end});
    at = end + pause(random);
  }
  *total_s = at;
  return said;
}

TEST_CASE("recording: every word comes once and at its time, whatever the pauses", "[unit]") {
  std::mt19937 random(5);
  const auto pauses = GENERATE(0, 1, 2, 3, 4);
  const auto pause = [&](std::mt19937& r) {
    const double u = std::uniform_real_distribution<double>(0, 1)(r);
    switch (pauses) {
      case 0:
        return 0.1 + 0.1 * u;  // hardly any
      case 1:
        return u < 0.9 ? 0.1 : 0.5;
      case 2:
        return 0.3 + 3.0 * u;
      case 3:
        return u < 0.8 ? 0.12 : 20.0 * u;  // long silences between sentences
      default:
        return 40.0 * u;  // alone in the dark
    }
  };
  double total_s = 0;
  const std::vector<Said> said = speech(random, 300, pause, &total_s);
  ToySession session({});
  const Outcome heard = hear(said, session, total_s);
  check_equal(said, heard.words);
  CHECK(heard.given_up.empty());
  CHECK(session.n_cut == 0);
  CHECK(session.longest_s <= 30.0);
  // Windows are filled: silence between is not heard.
  double spoken = 0;
  for (const Said& word : said) spoken += word.end_s - word.start_s + 0.85;
  CHECK(session.n_windows <= spoken / 15 + 2);
}

TEST_CASE("recording: speech without a pause is cut all the same, and nothing is lost", "[unit]") {
  std::vector<Said> said;
  for (int i = 0; i < 400; ++i) said.push_back({i + 1, 0.25 * i, 0.25 * i + 0.25});
  ToySession session({});
  const Outcome heard = hear(said, session, 101);
  std::vector<bool> found(401, false);
  for (const HeardWord& word : heard.words) found[static_cast<std::size_t>(std::stoi(word.text.substr(2)))] = true;
  CHECK(std::count(found.begin(), found.end(), true) == 400);
  CHECK(heard.words.size() <= 404);  // a word that is cut is heard in both windows
  CHECK(session.longest_s <= 30.0);
}

TEST_CASE("recording: a text that ends early is gone on with", "[unit]") {
  std::mt19937 random(9);
  double total_s = 0;
  const std::vector<Said> said = speech(
      random, 90, [](std::mt19937& r) { return std::uniform_real_distribution<double>(0.1, 0.3)(r); }, &total_s);
  ToySession session({.most_words = 25});
  check_equal(said, hear(said, session, total_s).words);
}

TEST_CASE("recording: what is said over and over is written over and over, and what follows is heard", "[unit]") {
  for (const bool crams : {false, true}) {
    std::vector<Said> said;
    double at = 1.0;
    for (int i = 0; i < 24; ++i, at += 0.5) said.push_back({7, at, at + 0.3});
    for (int i = 0; i < 20; ++i, at += 0.5) said.push_back({20 + i, at, at + 0.3});
    ToySession session({.loops = true, .crams = crams});
    const Outcome heard = hear(said, session, at + 1);
    check_equal(said, heard.words);
    CHECK(heard.given_up.empty());
  }
}

TEST_CASE("recording: nothing and silence are no windows", "[unit]") {
  ToySession session({});
  CHECK(hear({}, session, 95).words.empty());
  CHECK(session.n_windows == 0);
  RecordingListener untouched(toy_info(), {});
  untouched.end();
  CHECK(untouched.finished());
  CHECK(untouched.language().empty());
}

TEST_CASE("recording: an unsure language is looked at again in the light of the others", "[unit]") {
  // The session says "vi" with little certainty of the second window and "de" of the others, unless told.
  class Languages final : public RecogniserSession {
   public:
    int max_windows() const override { return 8; }
    void step(std::span<HearingWindow* const>, const std::function<bool()>&) override {}
    std::size_t bytes() const override { return 0; }
    std::unique_ptr<HearingWindow> begin(std::vector<float> samples, const HearOptions& options) override {
      Heard heard;
      heard.words = {{" " + (options.language.empty() ? std::string("free") : options.language), 0.0, 1.0, 1.0f}};
      heard.language = options.language;
      if (options.language.empty()) {
        const bool weak = n_++ == 1;
        heard.language = weak ? "vi" : "de";
        heard.language_probability = weak ? 0.4 : 0.9;
        heard.languages = {{heard.language, std::log(heard.language_probability)},
                           {weak ? "de" : "vi", std::log(weak ? 0.3 : 0.05)}};
      }
      heard.words.front().end_s = static_cast<double>(samples.size()) / kRate;
      return std::make_unique<ToyWindow>(std::move(heard));
    }
    int n_ = 0;
  } session;
  RecogniserInfo info = toy_info();
  info.languages = {"de", "en", "vi"};
  RecordingListener listener(info, {});
  std::vector<float> sound(kRate, 0.1f);
  const std::vector<float> hush(kRate, 0.0f);
  for (int i = 0; i < 60; ++i) {
    listener.push(sound, 2.0 * i, true);
    listener.push(hush, 2.0 * i + 1, false);
  }
  listener.end();
  while (!listener.windows(session, false).empty()) listener.collect();
  CHECK(listener.finished());
  CHECK(listener.language() == "de");
  CHECK(listener.language_probability() > 0.5);
  CHECK(listener.languages().size() == 1);
}

TEST_CASE("heard text: sentences, babble, repeats", "[unit]") {
  const std::vector<HeardWord> words{{" Yes.", 0, 0.5, 1.0f}, {" No", 0.6, 0.8, 0.5f}, {" way!", 0.8, 1.2, 0.5f}};
  const std::vector<TextSpan> spans = sentences(words, "en");
  REQUIRE(spans.size() == 2);
  CHECK(spans[0].text == " Yes.");
  CHECK(spans[1].words.size() == 2);
  CHECK(spans[1].words[0].text == "No");
  CHECK(spans[1].start_s == Approx(0.6));
  CHECK(spans[1].confidence == Approx(0.5));
  CHECK(text_of(words) == "Yes. No way!");
  const auto said = [](int n) {
    return std::vector<HeardWord>(static_cast<std::size_t>(n), HeardWord{" yes", 0, 0, 1.0f});
  };
  CHECK_FALSE(repeats(said(2)));
  CHECK(repeats(said(3)));
  CHECK_FALSE(babbles(said(3), 0.3));
  CHECK(babbles(said(12), 0.5));
}

}  // namespace
}  // namespace morph::audio
