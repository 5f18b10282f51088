// Subtitles from spans: the rules hold for any text, nothing is lost or doubled, and cuts are where a reader wants
// them.
#include <catch2/catch.hpp>
#include <random>

#include "io/subtitles.h"

namespace morph::text {
namespace {

TextSpan span_of(const std::string& text, double start_s, double word_s) {
  TextSpan span;
  span.text = " " + text;
  span.start_s = start_s;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    span.words.push_back({text.substr(at, end - at), start_s, start_s + word_s * 0.9, 1.0f});
    start_s += word_s;
    at = end + 1;
  }
  span.end_s = span.words.back().end_s;
  return span;
}

std::string all_text(const std::vector<Cue>& cues) {
  std::string all;
  for (const Cue& cue : cues)
    for (const std::string& line : cue.lines) all += (all.empty() ? "" : " ") + line;
  return all;
}

void check_rules(const std::vector<Cue>& cues, double longest_s = 7.0) {
  double last_end = -1, last_start = -1;
  for (const Cue& cue : cues) {
    CAPTURE(cue.start_s, cue.end_s, cue.lines.front());
    CHECK(cue.lines.size() <= 2);
    for (const std::string& line : cue.lines) {
      CHECK(columns_of(line) <= 42);
      CHECK_FALSE(line.empty());
    }
    CHECK(cue.end_s > cue.start_s);
    CHECK(cue.end_s - cue.start_s <= longest_s + 1e-6);
    CHECK(cue.start_s >= last_end);
    CHECK(cue.start_s > last_start);
    last_end = cue.end_s;
    last_start = cue.start_s;
  }
}

TEST_CASE("subtitles: the rules hold and every word comes once, whatever the text", "[unit]") {
  std::mt19937 random(3);
  const auto any = [&](int low, int high) {
    return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
  };
  for (int round = 0; round < 60; ++round) {
    std::vector<TextSpan> spans;
    std::string said;
    double at = 0.5;
    for (int s = any(1, 6); s > 0; --s) {
      std::string text;
      for (int w = any(1, 40); w > 0; --w) {
        text += text.empty() ? "" : " ";
        for (int c = any(1, 12); c > 0; --c) text += static_cast<char>('a' + any(0, 25));
        if (any(0, 9) == 0) text += ',';
      }
      text += '.';
      const double word_s = 0.08 * any(2, 9);
      spans.push_back(span_of(text, at, word_s));
      at = spans.back().end_s + 0.2 * any(0, 15);
      said += (said.empty() ? "" : " ") + text;
    }
    const std::vector<Cue> cues = make_cues(spans);
    check_rules(cues);
    CHECK(all_text(cues) == said);
  }
}

TEST_CASE("subtitles: sentences are kept together, clauses before words", "[unit]") {
  const std::vector<TextSpan> spans{
      span_of("The harbour opens at half past eight.", 0, 0.3),
      span_of(
          "My neighbour grows tomatoes, onions, and a few sunflowers behind the old stone wall of the house, and she "
          "waters them in the evening.",
          3, 0.3)};
  const std::vector<Cue> cues = make_cues(spans);
  check_rules(cues);
  REQUIRE(cues.size() >= 3);
  CHECK(cues[0].lines == std::vector<std::string>{"The harbour opens at half past eight."});
  CHECK(cues[1].start_s == Approx(3.0));
  CHECK(cues[1].lines.back().back() == ',');
}

TEST_CASE("subtitles: what is said twice is written twice, a silence ends a cue", "[unit]") {
  const std::vector<TextSpan> spans{span_of("No.", 1, 0.4), span_of("No.", 2, 0.4), span_of("No.", 20, 0.4)};
  const std::vector<Cue> cues = make_cues(spans);
  CHECK(all_text(cues) == "No. No. No.");
  CHECK(cues.back().start_s == Approx(20.0));
  CHECK(cues.front().end_s < 4.0);
}

TEST_CASE("subtitles: a fast speaker's cue stays while there is time to read it", "[unit]") {
  const std::vector<TextSpan> spans{span_of("A sentence of some sixty characters said in one second only.", 1, 0.1),
                                    span_of("Next.", 6, 0.4)};
  const std::vector<Cue> cues = make_cues(spans);
  REQUIRE(cues.size() == 2);
  CHECK(cues[0].end_s == Approx(1 + 60 / 20.0).margin(0.1));
}

TEST_CASE("subtitles: words without spaces, words longer than a line, spans without words", "[unit]") {
  TextSpan chinese;
  chinese.start_s = 0;
  for (int i = 0; i < 60; ++i) {
    chinese.text += "\u6f22";
    chinese.words.push_back({"\u6f22", 0.2 * i, 0.2 * i + 0.2, 1.0f});
  }
  chinese.end_s = 12;
  const std::vector<Cue> cues = make_cues(std::span(&chinese, 1));
  check_rules(cues);
  CHECK(all_text(cues).find("\u6f22\u6f22") != std::string::npos);
  CHECK(columns_of("\u6f22a\u00e9") == 4);

  TextSpan plain;
  plain.text = "https://example.org/" + std::string(200, 'x') + " is where it is.";
  plain.start_s = 1;
  plain.end_s = 9;
  const std::vector<Cue> split = make_cues(std::span(&plain, 1));
  check_rules(split);
  std::string letters = all_text(split);
  CHECK(std::count(letters.begin(), letters.end(), 'x') == 201);
  TextSpan timeless;
  timeless.text = "never";
  CHECK(make_cues(std::span(&timeless, 1)).empty());
  CHECK(make_cues({}).empty());
}

TEST_CASE("subtitles: written forms", "[unit]") {
  const std::vector<Cue> cues{{3661.25, 3662.5, {"a <b> & {c}", "d"}}};
  CHECK(write_srt(cues) == "1\n01:01:01,250 --> 01:01:02,500\na <b> & {c}\nd\n\n");
  CHECK(write_vtt(cues) == "WEBVTT\n\n1\n01:01:01.250 --> 01:01:02.500\na &lt;b&gt; &amp; {c}\nd\n\n");
  const std::string ass = write_ass(cues);
  CHECK_THAT(ass, Catch::StartsWith("[Script Info]"));
  CHECK_THAT(ass, Catch::Contains("Dialogue: 0,1:01:01.25,1:01:02.50,Default,,0,0,0,,a <b> & \\{c\\}\\Nd\n"));
  const std::vector<TextSpan> spans{span_of("one\ttwo", 1, 0.5)};
  CHECK(write_tsv(spans) == "start\tend\ttext\n1000\t1450\tone two\n");
}

}  // namespace
}  // namespace morph::text
