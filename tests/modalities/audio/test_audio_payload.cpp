// The audio payload: wire form, guard, and which bytes count as audio.
#include <limits>

#include "audio_payload.h"
#include "io/sound_scratch.h"

using namespace morph;
using namespace morph::testing;

TEST_CASE("a chunk survives the wire", "[unit][audio]") {
  AudioChunk chunk = tone(24000, 2, 0.01);
  chunk.marker = TurnMarker::resume;
  chunk.speech = true;
  chunk.pause_index = 7;
  chunk.answer_end = 99;
  chunk.last_of_answer = true;
  std::vector<std::byte> body;
  chunk.encode(body);
  const auto back = std::dynamic_pointer_cast<const AudioChunk>(audio::decode_audio(body));
  REQUIRE(back);
  CHECK(back->samples == chunk.samples);
  CHECK(back->rate_hz == 24000);
  CHECK(back->channels == 2);
  CHECK(back->marker == TurnMarker::resume);
  CHECK(back->speech);
  CHECK(back->pause_index == 7);
  CHECK(back->answer_end == 99);
  CHECK(back->last_of_answer);
  for (std::size_t n = 0; n < body.size(); ++n)
    CHECK(error_of([&] { audio::decode_audio(std::span(body).first(n)); }).code() == ErrorCode::format);
}

TEST_CASE("the guard sees NaN, clipping, constants and silence", "[unit][audio]") {
  const auto judge = [](std::vector<float> samples) {
    AudioChunk chunk;
    chunk.rate_hz = 16000;
    chunk.samples = std::move(samples);
    GuardReport report;
    audio::guard_audio(chunk, report);
    return report;
  };
  CHECK(judge({0.1f, std::numeric_limits<float>::quiet_NaN()}).nan);
  CHECK(judge({0.1f, std::numeric_limits<float>::infinity()}).nan);
  CHECK(judge(std::vector<float>(100, 0.25f)).constant());
  CHECK_FALSE(judge(std::vector<float>(100, 0.0f)).constant());
  CHECK(judge({1.0f, -1.0f, 1.0f, 0.0f}).clipped());
  CHECK_FALSE(judge(tone(16000, 1, 0.1).samples).clipped());
}

TEST_CASE("audio is known by its bytes", "[unit][audio]") {
  const auto sniff = [](const std::string& name, const std::string& head) {
    return audio::sniff_audio(name, std::as_bytes(std::span(head.data(), head.size())));
  };
  CHECK(sniff("x", std::string("RIFF\0\0\0\0WAVE", 12)) == "audio");
  CHECK(sniff("x.wav", std::string("RIFF\0\0\0\0AVI ", 12)).empty());
  CHECK(sniff("x", "fLaC....") == "audio");
  CHECK(sniff("x", "OggS....OpusHead") == "audio");
  CHECK(sniff("x", "OggS....\x80theora").empty());
  CHECK(sniff("x", "\xFF\xFB\x90\x64") == "audio");
  CHECK(sniff("x.m4a", std::string("\0\0\0\x20"
                                   "ftypmp42",
                                   12)) == "audio");
  CHECK(sniff("x.mp4", std::string("\0\0\0\x20"
                                   "ftypmp42",
                                   12))
            .empty());
  CHECK(sniff("x.wav", "hello, this is text").empty());
  CHECK(sniff("x", "\xFF\xD8\xFF\xE0").empty());  // JPEG
  CHECK(sniff("x", "").empty());
}
