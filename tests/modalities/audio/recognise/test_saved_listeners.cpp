// Listeners that are saved between any two steps go on in another process with the same words. The made-up recogniser
// here is as touchy as real products in batches are: what a window gives depends on what it was stepped beside.
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "exec/wire.h"
#include "morph/error.h"
#include "recognise/recording_listener.h"
#include "recognise/turn_listener.h"

namespace morph::audio {
namespace {

constexpr int kRate = 16000;

class TouchyWindow final : public HearingWindow {
 public:
  TouchyWindow(const std::vector<float>& samples, const HearOptions& options)
      : seconds_(static_cast<double>(samples.size()) / kRate), seed(options.seed) {
    for (std::size_t i = 0; i < samples.size(); i += 100)
      id = (id ^ static_cast<std::uint64_t>(std::lround(samples[i] * 1e4f))) * 0x100000001b3ULL;
    n_left = 2 + static_cast<int>(id % 5);
  }
  bool done() const override { return n_left <= 0; }
  Heard take() override {
    Heard heard;
    heard.language = "en";
    heard.words.push_back({" " + std::to_string(id % 100000) + "-" + std::to_string(company % 100000), 0.1,
                           std::max(0.2, seconds_ - 0.1), 0.9f});
    heard.context = {static_cast<int>(id % 1000)};
    return heard;
  }

 private:
  double seconds_;

 public:
  std::uint64_t id = 0xcbf29ce484222325ULL, seed = 0, company = 0;
  int n_left = 0;
};

class TouchySession final : public RecogniserSession {
 public:
  int max_windows() const override { return 4; }
  std::unique_ptr<HearingWindow> begin(std::vector<float> samples, const HearOptions& options) override {
    return std::make_unique<TouchyWindow>(samples, options);
  }
  void step(std::span<HearingWindow* const> windows, const std::function<bool()>&) override {
    std::uint64_t all = 0;
    for (HearingWindow* window : windows) all = all * 31 + static_cast<TouchyWindow*>(window)->id;
    for (HearingWindow* window : windows) {
      auto& touchy = static_cast<TouchyWindow&>(*window);
      if (touchy.n_left <= 0) continue;
      touchy.company = touchy.company * 31 + all + touchy.seed;
      --touchy.n_left;
    }
  }
  std::size_t bytes() const override { return 0; }
};

RecogniserInfo info() {
  RecogniserInfo made;
  made.languages = {"en"};
  return made;
}

RecordingOptions in_rounds() {
  RecordingOptions options;
  options.group = 4;
  options.rounds = true;
  return options;
}

std::string text_of_all(const RecordingListener& listener) {
  std::string all;
  for (const HeardWord& word : listener.words()) all += word.text + "@" + std::to_string(word.start_s);
  return all;
}

std::vector<float> noise(double seconds) {
  std::mt19937 random(7);
  std::vector<float> samples(static_cast<std::size_t>(seconds * kRate));
  for (std::size_t i = 0; i < samples.size(); ++i)
    samples[i] = i % (3 * kRate) < kRate / 3 ? 0.0f : 0.1f + static_cast<float>(random() % 1000) / 5000.0f;
  return samples;
}

/// Pushes and hears, a step at a time; after `n_before` steps the listener is saved and another goes on.
std::string heard_text(const std::vector<float>& samples, int n_before, bool& over) {
  auto session = std::make_unique<TouchySession>();
  auto listener = std::make_unique<RecordingListener>(info(), in_rounds());
  std::size_t at = 0;
  over = true;
  for (int n = 0; n < 100000 && !listener->finished(); ++n) {
    if (n == n_before) {
      over = false;
      std::vector<std::byte> saved;
      wire::Writer writer(saved);
      listener->save(writer);
      auto fresh = std::make_unique<RecordingListener>(info(), in_rounds());
      wire::Reader reader(saved, "test");
      fresh->restore(reader);
      CHECK(reader.left() == 0);
      listener = std::move(fresh);
      session = std::make_unique<TouchySession>();
    }
    for (int i = 0; i < 100 && at < samples.size() && listener->wants_input(); ++i) {
      const std::size_t length = std::min<std::size_t>(512, samples.size() - at);
      const std::span<const float> chunk(samples.data() + at, length);
      const bool speech = std::any_of(chunk.begin(), chunk.end(), [](float x) { return x != 0.0f; });
      listener->push(chunk, static_cast<double>(at) / kRate, speech);
      at += length;
    }
    if (at >= samples.size()) listener->end();
    session->step(listener->windows(*session, false), {});
    listener->collect();
  }
  CHECK(listener->finished());
  return text_of_all(*listener);
}

}  // namespace

TEST_CASE("a recording that is saved between any two steps is heard with the same words", "[unit]") {
  const std::vector<float> samples = noise(400);
  bool over = false;
  const std::string whole = heard_text(samples, -1, over);
  REQUIRE(whole.size() > 200);
  over = false;
  for (int n = 0; !over; ++n) {
    INFO("saved after " << n << " steps");
    CHECK(heard_text(samples, n, over) == whole);
  }
}

TEST_CASE("a recording's saved state is refused when it is cut short", "[unit]") {
  RecordingListener listener(info(), in_rounds());
  const std::vector<float> samples = noise(70);
  listener.push(samples, 0, true);
  TouchySession session;
  session.step(listener.windows(session, true), {});
  std::vector<std::byte> saved;
  wire::Writer writer(saved);
  listener.save(writer);
  for (std::size_t n = 0; n < saved.size(); n += 1 + saved.size() / 60) {
    RecordingListener fresh(info(), in_rounds());
    const std::span<const std::byte> cut = std::span<const std::byte>(saved).first(n);
    wire::Reader reader(cut, "test");
    CHECK_THROWS_AS(fresh.restore(reader), Error);
  }
}

TEST_CASE("a turn that is saved while it is heard is heard again with the same words", "[unit]") {
  const auto text = [](bool save) {
    TurnOptions options;
    TurnListener first(info(), options), second(info(), options);
    TouchySession session, other;
    const std::vector<float> samples = noise(8);
    first.push(samples, true);
    first.begin(session, true);
    HearingWindow* window = first.window();
    session.step({&window, 1}, {});
    TurnListener* listener = &first;
    TouchySession* on = &session;
    if (save) {
      std::vector<std::byte> saved;
      wire::Writer writer(saved);
      first.save(writer);
      wire::Reader reader(saved, "test");
      second.restore(reader);
      CHECK(reader.left() == 0);
      second.begin(other, true);
      listener = &second;
      on = &other;
    }
    for (int i = 0; i < 100; ++i) {
      window = listener->window();
      if (window->done() && listener->finish(*on)) break;
      window = listener->window();
      on->step({&window, 1}, {});
    }
    return listener->text();
  };
  CHECK_FALSE(text(false).empty());
  CHECK(text(true) == text(false));
}

}  // namespace morph::audio
