// audio/playback: holding back, confirming, taking back and interrupting, in stream time and live.
#include "modalities/audio/io/sound_scratch.h"

using namespace morph;
using namespace morph::testing;

namespace {

constexpr int kRate = 1000;  // a frame is a millisecond

/// The stage with shorthands for what the neighbours send.
class Scene {
 public:
  explicit Scene(Params params = {}, bool with_turns = true)
      : harness(audio_stage("audio/playback"), params, options(with_turns)) {}

  /// `n` ms of an answer to pause `epoch`; every sample is `value`.
  void answer(std::uint64_t epoch, int n, float value, std::size_t answer_end = 0, bool last = false) {
    AudioChunk chunk;
    chunk.rate_hz = kRate;
    chunk.samples.assign(static_cast<std::size_t>(n), value);
    chunk.answer_end = answer_end;
    chunk.last_of_answer = last;
    Packet packet = Packet::data(std::make_shared<const AudioChunk>(chunk));
    packet.epoch = epoch;
    packet.sequence = n_sent++;
    harness.feed("audio", packet);
  }
  void turn(const std::string& name, double time_s, std::int64_t pause = 0) {
    EventPayload event;
    event.name = name;
    event.values.set("time_s", time_s);
    if (pause > 0) event.values.set("pause_index", pause);
    harness.feed("turns", event);
  }
  StepStatus run() { return harness.run(); }
  StepStatus finish() {
    harness.end("audio");
    harness.end("turns");
    return harness.run();
  }
  /// What came out as "120x1.0 50x2.0".
  std::string heard() {
    std::string text;
    float value = 0;
    std::size_t n = 0;
    const auto close = [&] {
      if (n > 0) text += (text.empty() ? "" : " ") + std::to_string(n) + "x" + std::to_string(static_cast<int>(value));
      n = 0;
    };
    for (const Packet& packet : harness.take("audio")) {
      if (packet.kind == PacketKind::flush) {
        close();
        text += " flush" + std::to_string(packet.epoch);
        continue;
      }
      for (const float x : packet.as<AudioChunk>().samples) {
        if (x != value) close();
        value = x;
        ++n;
      }
    }
    close();
    return text;
  }
  /// "interrupted epoch:heard_bytes", "heard epoch:heard_bytes": what was reported of the answers.
  std::string reports() {
    std::string text;
    for (const ControlEvent& event : harness.take_controls()) {
      if (event.name == "reports_heard") continue;
      text += (text.empty() ? "" : " ") + event.name + " " + std::to_string(event.epoch) + ":" +
              std::to_string(event.values.get_int("heard_bytes"));
    }
    return text;
  }

  StageHarness harness;
  std::uint64_t n_sent = 0;

 private:
  static HarnessOptions options(bool with_turns) {
    HarnessOptions made;
    made.inputs["audio"] = pcm(kRate, 1);
    if (!with_turns) made.unconnected = {"turns"};
    return made;
  }
};

}  // namespace

TEST_CASE("without turns everything passes", "[unit][audio]") {
  Scene scene({}, false);
  scene.answer(0, 100, 1, 0, true);
  scene.harness.end("audio");
  CHECK(scene.run() == StepStatus::done);
  CHECK(scene.heard() == "100x1");
}

TEST_CASE("a prepared answer waits for its turn's end", "[unit][audio]") {
  Scene scene;
  scene.turn("speech_start", 0.5);
  scene.turn("pause", 1.0, 1);
  scene.answer(1, 300, 1, 10, true);
  scene.turn("tick", 1.2);
  CHECK(scene.run() == StepStatus::need_input);
  CHECK(scene.heard().empty());
  scene.turn("end", 1.4, 1);
  scene.turn("tick", 1.5);
  scene.run();
  CHECK(scene.heard() == "100x1");  // what stream time allows
  CHECK(scene.finish() == StepStatus::done);
  CHECK(scene.heard() == "200x1");  // nobody can interrupt any more
  CHECK(scene.reports().empty());
}

TEST_CASE("an answer to a pause that was none is never heard", "[unit][audio]") {
  const bool flushed = GENERATE(false, true);
  Scene scene;
  scene.turn("pause", 1.0, 1);
  scene.answer(1, 300, 1);
  scene.run();
  scene.turn("resume", 1.3, 1);
  if (flushed) scene.harness.flush(2);
  scene.turn("pause", 2.0, 2);
  scene.answer(1, 50, 1);  // late
  scene.answer(2, 100, 2, 5, true);
  scene.turn("end", 2.4, 2);
  CHECK(scene.finish() == StepStatus::done);
  CHECK(scene.heard() == "100x2");
}

TEST_CASE("speech one second into an answer stops it there, however the work was timed", "[unit][audio]") {
  const int order = GENERATE(0, 1, 2);
  INFO("order " << order);
  Scene scene;
  const auto answers = [&] {
    scene.answer(1, 800, 1, 40);
    scene.answer(1, 800, 1, 80);
    scene.answer(1, 800, 1, 120, true);
  };
  if (order == 0) answers();
  scene.run();
  scene.turn("end", 2.0, 1);
  scene.turn("tick", 2.5);
  if (order == 1) {
    scene.run();
    answers();
  }
  scene.run();
  scene.turn("speech_start", 3.0);
  scene.turn("tick", 3.2);
  scene.run();
  if (order == 2) {
    CHECK(scene.reports().empty());  // not known yet how much was heard
    answers();
    scene.run();
  }
  CHECK(scene.reports() == "interrupted 1:50");
  scene.turn("end", 4.0, 2);
  scene.answer(2, 100, 2, 9, true);
  CHECK(scene.finish() == StepStatus::done);
  CHECK(scene.heard() == "1000x1 100x2");
}

TEST_CASE("an answer that was heard to its end is not interrupted", "[unit][audio]") {
  Scene scene;
  scene.answer(1, 500, 1, 10, true);
  scene.turn("end", 1.0, 1);
  scene.turn("speech_start", 1.6);
  scene.run();
  CHECK(scene.reports() == "heard 1:10");
  CHECK(scene.heard() == "500x1");
}

TEST_CASE("only the stream clock promises a report of every answer", "[unit][audio]") {
  const bool live = GENERATE(false, true);
  Scene scene(Params({{"clock", std::string(live ? "live" : "stream")}}));
  scene.run();
  const auto controls = scene.harness.take_controls();
  REQUIRE(controls.size() == (live ? 0 : 1));
  if (!live) CHECK(controls[0].name == "reports_heard");
}

TEST_CASE("a turn without an answer holds nobody up", "[unit][audio]") {
  Scene scene;
  scene.turn("end", 1.0, 1);  // nothing was understood
  scene.turn("speech_start", 2.0);
  scene.turn("end", 3.0, 2);
  scene.answer(2, 100, 2, 5, true);
  CHECK(scene.finish() == StepStatus::done);
  CHECK(scene.heard() == "100x2");
}

TEST_CASE("what was heard survives a later flush", "[unit][audio]") {
  Scene scene;
  scene.answer(1, 500, 1, 10, true);
  scene.turn("end", 1.0, 1);
  scene.turn("tick", 1.2);
  scene.run();
  scene.harness.flush(9);
  scene.finish();
  CHECK(scene.heard() == "500x1");
}

TEST_CASE("gaps put the answer where it was heard", "[unit][audio]") {
  Scene scene(Params({{"gaps", true}}));
  scene.answer(1, 200, 1, 10, true);
  scene.turn("end", 1.5, 1);
  scene.turn("speech_start", 3.0);
  scene.answer(2, 100, 2, 10, true);
  scene.turn("end", 4.0, 2);
  scene.finish();
  CHECK(scene.heard() == "1500x0 200x1 2300x0 100x2");
}

TEST_CASE("a revised piece replaces the one that waits", "[unit][audio]") {
  Scene scene;
  scene.answer(1, 100, 1, 10);
  scene.answer(1, 100, 2, 20, true);
  scene.run();
  AudioChunk other;
  other.rate_hz = kRate;
  other.samples.assign(50, 3.0f);
  other.last_of_answer = true;
  Packet packet = Packet::data(std::make_shared<const AudioChunk>(other));
  packet.kind = PacketKind::revise;
  packet.since = 1;
  packet.sequence = 2;
  packet.epoch = 1;
  scene.harness.feed("audio", packet);
  scene.turn("end", 1.0, 1);
  scene.finish();
  CHECK(scene.heard() == "100x1 50x3");
}

TEST_CASE("live audio goes out a little ahead of the clock and stops at once", "[unit][audio]") {
  using std::chrono::milliseconds;
  Scene scene(Params({{"clock", std::string("live")}, {"ahead_s", 0.2}}));
  scene.answer(1, 1000, 1, 100, true);
  scene.harness.set_clock(milliseconds(5000));
  scene.turn("end", 1.0, 1);
  scene.run();
  CHECK(scene.heard() == "200x1");
  scene.harness.set_clock(milliseconds(5100));
  scene.turn("tick", 1.1);
  scene.run();
  CHECK(scene.heard() == "100x1");
  scene.harness.set_clock(milliseconds(5150));
  scene.turn("speech_start", 1.15);
  scene.run();
  CHECK(scene.reports() == "interrupted 1:15");  // 150 ms of 1000 were heard
  CHECK(scene.heard() == " flush2");
  scene.answer(1, 100, 1, 0, true);  // late
  scene.answer(3, 50, 3, 5, true);
  scene.turn("end", 2.0, 3);
  CHECK(scene.finish() == StepStatus::done);
  CHECK(scene.heard() == "50x3");
}

TEST_CASE("a full output holds audio back, not the inputs", "[unit][audio]") {
  Scene scene;
  scene.harness.set_space("audio", 0);
  scene.answer(1, 100, 1, 5, true);
  scene.turn("end", 1.0, 1);
  CHECK(scene.run() == StepStatus::output_full);
  CHECK(scene.harness.available("audio") == 0);
  scene.harness.set_space("audio", 8);
  CHECK(scene.finish() == StepStatus::done);
  CHECK(scene.heard() == "100x1");
}
