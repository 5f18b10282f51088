// The speech normaliser, by case files.
#include <catch2/catch.hpp>

#include "case_file.h"
#include "morph/speech_text.h"

using morph::text::SpeechNormaliser;

namespace {

std::string with_line_ends(std::string text) {
  for (std::size_t at = 0; (at = text.find("\\n", at)) != std::string::npos; ++at) text.replace(at, 2, "\n");
  return text;
}

}  // namespace

TEST_CASE("English text is made speakable", "[unit]") {
  const SpeechNormaliser normalise("en-us");
  CHECK(normalise.name() == "speech-text-en/1");
  for (const auto& block : morph::testing::read_cases("speech_text/english.case")) {
    REQUIRE(block.size() == 2);
    INFO(block[0].second);
    CHECK(normalise(with_line_ends(block[0].second)) == block[1].second);
  }
}

TEST_CASE("what is speakable stays as it is when normalised again", "[unit]") {
  const SpeechNormaliser normalise("en");
  for (const auto& block : morph::testing::read_cases("speech_text/english.case")) {
    INFO(block[1].second);
    CHECK(normalise(block[1].second) == block[1].second);
  }
}

TEST_CASE("other languages keep their digits", "[unit]") {
  const SpeechNormaliser normalise("de");
  CHECK(normalise.name() == "speech-text/1");
  CHECK(normalise("**Es** sind 42 Äpfel \xF0\x9F\x98\x80!") == "Es sind 42 Äpfel!");
}

TEST_CASE("hostile text is survived", "[unit]") {
  const SpeechNormaliser normalise("en");
  CHECK(normalise("").empty());
  CHECK(normalise("\xff\xfe ok \x80") == "ok");
  CHECK(normalise(std::string("a\0b", 3)) == "ab");
  CHECK(normalise(std::string(200000, '*')).empty());
  CHECK(normalise(std::string(100000, '(')).empty());
  CHECK(!normalise(std::string(300000, '7')).empty());
  std::string nested;
  for (int i = 0; i < 20000; ++i) nested += "[a](b) 1/2 $3 ";
  CHECK(!normalise(nested).empty());
}
