// Hearing without weights: log-mel against the reference's numbers, token text, timestamp rules.
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <tuple>

#include "morph/error.h"
#include "recognise/heard_text.h"
#include "recognise/log_mel.h"
#include "recognise/recording_listener.h"
#include "recognise/token_text.h"
#include "recognise/turn_listener.h"
#include "recognise/window_decoder.h"
#include "recognise/word_alignment.h"

namespace fs = std::filesystem;

namespace morph::audio {
namespace {

TEST_CASE("log-mel equals WhisperFeatureExtractor's", "[unit]") {
  // 0.3 * sin(2 pi * 440 t) + 0.1 * sin(2 pi * 3000 t), 0.8 s, in a window of 1 s; numbers by transformers' formulas in
  // double precision.
  std::vector<float> samples(12800);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const double t = static_cast<double>(i) / 16000.0;
    samples[i] = static_cast<float>(0.3 * std::sin(2 * M_PI * 440 * t) + 0.1 * std::sin(2 * M_PI * 3000 * t));
  }
  LogMel mel(80, 1);
  const std::vector<float> found = mel(samples, 100);
  REQUIRE(found.size() == 8000);
  static constexpr std::tuple<int, int, double> kReference[] = {
      {0, 0, 0.881392},    {0, 1, 0.369429},    {0, 40, -0.672721},  {0, 79, 0.218914},   {0, 81, 0.218914},
      {0, 99, -0.672721},  {7, 0, 1.017052},    {7, 1, 0.404736},    {7, 40, -0.672721},  {7, 79, 0.254221},
      {7, 81, 0.254221},   {7, 99, -0.672721},  {11, 0, 0.999552},   {11, 1, 1.324767},   {11, 40, 1.327279},
      {11, 79, 1.326026},  {11, 81, 0.241976},  {11, 99, -0.672721}, {12, 0, 1.225521},   {12, 1, 1.186650},
      {12, 40, 1.182599},  {12, 79, 1.184627},  {12, 81, 0.232637},  {12, 99, -0.672721}, {30, 0, 0.399045},
      {30, 1, -0.097959},  {30, 40, -0.672721}, {30, 79, -0.248474}, {30, 81, -0.248474}, {30, 99, -0.672721},
      {45, 0, 0.171552},   {45, 1, -0.327461},  {45, 40, -0.672721}, {45, 79, -0.477976}, {45, 81, -0.477976},
      {45, 99, -0.672721}, {53, 0, 0.747640},   {53, 1, 0.122821},   {53, 40, -0.672721}, {53, 79, -0.027694},
      {53, 81, -0.027694}, {53, 99, -0.672721}, {60, 0, 0.403693},   {60, 1, -0.106292},  {60, 40, -0.672721},
      {60, 79, -0.256807}, {60, 81, -0.256807}, {60, 99, -0.672721}, {79, 0, 0.084095},   {79, 1, -0.426006},
      {79, 40, -0.672721}, {79, 79, -0.576521}, {79, 81, -0.576521}, {79, 99, -0.672721}};
  for (const auto& [band, frame, value] : kReference) {
    CAPTURE(band, frame);
    CHECK(found[static_cast<std::size_t>(band * 100 + frame)] == Approx(value).margin(2e-4));
  }
  CHECK(LogMel(128, 1)(samples, 100).size() == 12800);
}

fs::path write_tokenizer(const std::string& text) {
  const fs::path file = fs::temp_directory_path() / "morph-test-tokenizer.json";
  std::ofstream(file) << text;
  return file;
}

TEST_CASE("token text: bytes, specials, damage", "[unit]") {
  const TokenText tokens = TokenText::read(write_tokenizer(
      R"({"model":{"vocab":{"\u0120Hi":0,"!":1,"\u00c3":2,"\u00a9":3}},"added_tokens":[{"id":4,"content":"<|en|>","special":true}]})"));
  CHECK(tokens.text(std::vector<int>{0, 1, 4}) == " Hi!");
  CHECK(tokens.text(std::vector<int>{2, 3}) == "\xc3\xa9");
  CHECK(tokens.text(std::vector<int>{0, 2}) == " Hi");  // half a character
  CHECK(tokens.special("<|en|>") == 4);
  CHECK_FALSE(tokens.special("<|xx|>"));
  CHECK(tokens.piece(99).empty());
  CHECK(tokens.piece(-1).empty());
  CHECK_THROWS_AS(TokenText::read(write_tokenizer("{")), Error);
  CHECK_THROWS_AS(TokenText::read(write_tokenizer(R"({"model":{"vocab":{"a":-1}}})")), Error);
  CHECK_THROWS_AS(TokenText::read(write_tokenizer(R"({"model":{"vocab":{"a":99999999}}})")), Error);
  CHECK_THROWS_AS(TokenText::read(write_tokenizer(R"({"model":{"vocab":{"a":0}},"added_tokens":[{}]})")), Error);
}

TEST_CASE("token text: encoding merges what was merged most", "[unit]") {
  const TokenText tokens = TokenText::read(write_tokenizer(
      R"({"model":{"vocab":{"a":0,"b":1,"c":2,"ab":3,"\u0120ab":4,"\u0120":5,"abc":6,"'s":7,"'":8,"s":9,"1":10},)"
      R"("merges":["a b","\u0120 ab",["ab","c"],"' s"]}})"));
  CHECK(tokens.encode("ab") == std::vector<int>{3});
  CHECK(tokens.encode(" ab ab") == std::vector<int>{4, 4});
  CHECK(tokens.encode("abc1") == std::vector<int>{6, 10});
  CHECK(tokens.encode("c's") == std::vector<int>{2, 7});
  CHECK(tokens.encode("  ab") == std::vector<int>{5, 4});
  CHECK(tokens.encode("").empty());
  CHECK(tokens.encode("\xff").empty());
}

TEST_CASE("words: tokens come together, marks stay with their word", "[unit]") {
  const TokenText names = TokenText::read(write_tokenizer(
      R"x({"model":{"vocab":{"\u0120Hel":0,"lo":1,",":2,"\u0120you":3,".":4,"\u0120(":7,"a":8,")":9}}})x"));
  const auto texts = [&](const std::vector<int>& tokens, const std::string& language) {
    std::vector<std::string> found;
    std::size_t next = 0;
    for (const WordTokens& word : split_words(tokens, names, language)) {
      CHECK(word.first == next);
      next += word.n;
      found.push_back(word.text);
    }
    CHECK(next == tokens.size());
    return found;
  };
  CHECK(texts({0, 1, 2, 3, 4}, "en") == std::vector<std::string>{" Hello,", " you."});
  CHECK(texts({7, 8, 9}, "en") == std::vector<std::string>{" (a)"});
}

TEST_CASE("warping: each row takes the columns that suit it", "[unit]") {
  // Rows 0, 1, 2 are at home in columns 0-2, 3, 4-5.
  const int homes[6] = {0, 0, 0, 1, 2, 2};
  std::vector<float> costs(18);
  for (int row = 0; row < 3; ++row)
    for (int column = 0; column < 6; ++column)
      costs[static_cast<std::size_t>(row * 6 + column)] = homes[column] == row ? -1.0f : 0.5f;
  CHECK(warp(costs, 3, 6) == std::vector<int>{0, 3, 4});
  CHECK(warp(std::vector<float>(4, 0.0f), 1, 4) == std::vector<int>{0});
}

TEST_CASE("token starts follow the attention", "[unit]") {
  // Two heads, 5 rows (start, text of 3, end), 40 positions of which 30 hold sound; each row looks at the next token.
  constexpr int kRows = 5, kAudio = 40;
  std::vector<float> scores(2 * kRows * kAudio, 0.0f);
  const int from[] = {0, 8, 15, 24};
  for (int head = 0; head < 2; ++head)
    for (int row = 0; row < 4; ++row)
      for (int i = from[row]; i < (row < 3 ? from[row + 1] : 30); ++i)
        scores[static_cast<std::size_t>((head * kRows + row) * kAudio + i)] = 8.0f;
  const std::vector<int> starts = token_starts(scores, kAudio, kRows, 2, 0, 30);
  REQUIRE(starts.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(starts[i] - from[i]) <= 2);
}

TEST_CASE("invalid UTF-8 is dropped", "[unit]") {
  CHECK(valid_utf8("a\xff"
                   "b\xc3") == "ab");
  CHECK(valid_utf8("\xe2\x82\xac") == "\xe2\x82\xac");
}

TEST_CASE("loops compress", "[unit]") {
  std::string loop;
  for (int i = 0; i < 30; ++i) loop += " and then";
  CHECK(compression_ratio(loop) > 2.4);
  CHECK(compression_ratio("It was the best of times, it was the worst of times.") < 2.4);
  CHECK(compression_ratio("") == 0);
}

TEST_CASE("log of a sum of exponentials", "[unit]") {
  const std::vector<float> logits{1.0f, 2.0f, -INFINITY};
  CHECK(log_sum_exp(logits) == Approx(std::log(std::exp(1.0) + std::exp(2.0))));
  CHECK(std::isinf(log_sum_exp(std::vector<float>{-INFINITY})));
}

/// A tiny vocabulary: 0-9 words, 10 end, 11 start, 12 en, 13 translate, 14 transcribe, 15 previous, 16 no speech, 17 no
/// timestamps, 18.. timestamps.
void make_toy(WhisperModel& model) {
  model.config.vocab_size = 51865;
  model.tokens = std::make_shared<TokenText>(TokenText::read(write_tokenizer(
      R"({"model":{"vocab":{"a":0,"b":1}},"added_tokens":[{"id":10,"content":"<|endoftext|>"},{"id":11,"content":"<|startoftranscript|>"},{"id":12,"content":"<|en|>"},{"id":13,"content":"<|translate|>"},{"id":14,"content":"<|transcribe|>"},{"id":15,"content":"<|startofprev|>"},{"id":16,"content":"<|nospeech|>"},{"id":17,"content":"<|notimestamps|>"}]})")));
  model.config.suppress_tokens = {5};
  model.config.begin_suppress_tokens = {0, 10};
}

std::vector<float> allowed(const WhisperRules& rules, std::vector<int> written, std::size_t n = 60) {
  std::vector<float> logits(51865, 0.0f);
  for (std::size_t i = 18; i < logits.size(); ++i) logits[i] = -20.0f;  // timestamps together are unlikely
  rules.apply(logits, written);
  logits.resize(n);
  return logits;
}

TEST_CASE("a vocabulary without timestamps is refused", "[unit]") {
  WhisperModel model;
  make_toy(model);
  model.config.vocab_size = 18;  // ends with <|notimestamps|>
  CHECK_THROWS_WITH(WhisperTokens(model), Catch::Contains("timestamps"));
  model.config.vocab_size = 19;
  CHECK_NOTHROW(WhisperTokens(model));
}

TEST_CASE("languages: what the checkpoint says counts, then the vocabulary's size", "[unit]") {
  WhisperModel model;
  make_toy(model);
  CHECK(WhisperTokens(model).multilingual());
  model.config.is_multilingual = false;
  CHECK_FALSE(WhisperTokens(model).multilingual());
  model.config.vocab_size = 51864;
  model.config.is_multilingual.reset();
  CHECK_FALSE(WhisperTokens(model).multilingual());
  model.config.is_multilingual = true;
  CHECK(WhisperTokens(model).multilingual());
  model.folder = "/models/some-whisper";
  model.tokens.reset();
  CHECK_THROWS_WITH(WhisperTokens(model), Catch::Contains("/models/some-whisper/tokenizer.json"));
}

TEST_CASE("timestamp rules", "[unit]") {
  WhisperModel model;
  make_toy(model);
  const WhisperTokens tokens(model);
  CHECK(tokens.prompt("en", false, true) == std::vector<int>{11, 12, 14});
  CHECK(tokens.prompt("en", true, false) == std::vector<int>{11, 12, 13, 17});
  CHECK_THROWS_WITH(tokens.prompt("xx", false, true), Catch::Contains("xx"));
  CHECK(tokens.seconds(28) == Approx(0.2));
  const WhisperRules rules(model, tokens, true, 30);
  const auto open = [](const std::vector<float>& logits, int id) {
    return std::isfinite(logits[static_cast<std::size_t>(id)]);
  };
  auto first = allowed(rules, {});
  CHECK_FALSE(open(first, 1));
  CHECK(open(first, 18));
  CHECK(open(first, 18 + 30));
  CHECK_FALSE(open(first, 18 + 31));  // beyond the audio
  auto text = allowed(rules, {18, 1});
  CHECK(open(text, 1));
  CHECK(open(text, 10));
  CHECK_FALSE(open(text, 5));
  CHECK_FALSE(open(text, 11));
  CHECK_FALSE(open(text, 18));  // time goes on
  CHECK(open(text, 19));
  auto closed = allowed(rules, {18, 1, 28});
  CHECK_FALSE(open(closed, 1));  // a second timestamp or the end must follow
  CHECK(open(closed, 10));
  CHECK(open(closed, 28));
  CHECK_FALSE(open(closed, 27));
  auto reopened = allowed(rules, {18, 1, 28, 28});
  CHECK(open(reopened, 1));
  CHECK_FALSE(open(reopened, 30));
  const WhisperRules plain(model, tokens, false, 30);
  CHECK_FALSE(open(allowed(plain, {}), 0));
  CHECK(open(allowed(plain, {}), 1));
  CHECK(open(allowed(plain, {1}), 0));
  CHECK_FALSE(open(allowed(plain, {1}), 18));
}

}  // namespace
}  // namespace morph::audio
