// Phonemes by the espeak-ng program against piper-tts 1.8's, cutting of long texts, and what happens without espeak-ng.
#include <catch2/catch.hpp>
#include <functional>

#include "case_file.h"
#include "morph/error.h"
#include "synthesise/phonemes.h"

using namespace morph::audio;

namespace {

std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += part;
  return all;
}

morph::ErrorCode code_of(const std::function<void()>& action, std::string& message) {
  try {
    action();
  } catch (const morph::Error& error) {
    message = error.what();
    return error.code();
  }
  return morph::ErrorCode::internal;
}

}  // namespace

TEST_CASE("phonemes are those of piper-tts", "[unit]") {
  const EspeakProgram espeak;
  for (const auto& block : morph::testing::read_cases("phonemes/piper_en_us.case")) {
    INFO(block[0].second);
    const auto sentences = split_utterances(block[0].second, 500);
    std::size_t sentence = 0;
    for (const auto& [key, value] : block) {
      if (key != "ipa") continue;
      REQUIRE(sentence < sentences.size());
      CHECK(joined(decomposed_phonemes(sentence_ipa(espeak, sentences[sentence++].text, "en-us"))) == value);
    }
    CHECK(sentence == sentences.size());
  }
}

TEST_CASE("a missing espeak-ng is named with its remedy", "[unit]") {
  const EspeakProgram missing("espeak-ng-that-is-not-there");
  std::string message;
  CHECK(code_of([&] { missing.clauses("Hello", "en-us"); }, message) == morph::ErrorCode::config);
  CHECK(message.find("apt-get install espeak-ng") != std::string::npos);
}

TEST_CASE("a voice that espeak-ng lacks or that is no voice name is refused", "[unit]") {
  const EspeakProgram espeak;
  std::string message;
  CHECK(code_of([&] { espeak.clauses("Hello", "xx-not-a-voice"); }, message) == morph::ErrorCode::config);
  CHECK(message.find("xx-not-a-voice") != std::string::npos);
  CHECK(code_of([&] { espeak.clauses("Hello", "-w/tmp/x"); }, message) == morph::ErrorCode::config);
  CHECK(code_of([&] { espeak.clauses("Hello", ""); }, message) == morph::ErrorCode::config);
}

TEST_CASE("text is data for espeak-ng, never a command", "[unit]") {
  const EspeakProgram espeak;
  CHECK(espeak.clauses("$(touch /tmp/x); `id` | cat", "en-us").size() >= 1);
  CHECK(joined(espeak.clauses("say [[h@'loU]] now", "en-us")).find("[[") == std::string::npos);
  CHECK(espeak.clauses("", "en-us").empty());
}

TEST_CASE("more text than a pipe holds goes through espeak-ng without a deadlock", "[unit]") {
  const EspeakProgram espeak;
  std::string text;
  while (text.size() < 80000) text += "The soft cushion broke the man's fall. ";
  CHECK(espeak.clauses(text, "en-us").size() > 2000);
}

TEST_CASE("long texts are cut at sentences, then clauses, then words", "[unit]") {
  const auto whole = split_utterances("One two. Three four! Five", 100);
  REQUIRE(whole.size() == 3);
  CHECK(whole[0].text == "One two.");
  CHECK(whole[0].sentence_end);
  CHECK(whole[0].end == 8);
  CHECK(whole[2].text == "Five");
  CHECK_FALSE(whole[2].sentence_end);
  CHECK(whole[2].end == 25);

  const auto clauses = split_utterances("aaaa bbbb cccc, dddd eeee ffff, gggg.", 20);
  REQUIRE(clauses.size() == 3);
  CHECK(clauses[0].text == "aaaa bbbb cccc,");
  CHECK(clauses[1].text == "dddd eeee ffff,");

  std::string words;
  for (int i = 0; i < 1000; ++i) words += "word ";
  std::size_t end = 0;
  for (const auto& piece : split_utterances(words, 50)) {
    CHECK(piece.text.size() <= 50);
    CHECK(piece.text.ends_with("word"));
    CHECK(piece.end > end);
    end = piece.end;
  }
  CHECK(end == words.size());

  for (const auto& piece : split_utterances(std::string(1000, 'x') + "é", 64)) CHECK(piece.text.size() <= 64);
  CHECK(split_utterances("... , !", 10).empty());
  CHECK(split_utterances("", 10).empty());
}
