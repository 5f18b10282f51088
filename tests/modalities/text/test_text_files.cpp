// Text payload, UTF-8, reading and writing.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "io/text_document.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/text.h"
#include "testing/stage_harness.h"
#include "text_payload.h"
#include "utf8.h"

using namespace morph;
using morph::testing::HarnessOptions;
using morph::testing::StageHarness;

namespace morph::text {
void register_read(Registry& registry);
void register_write(Registry& registry);
void register_payload(Registry& registry);
}  // namespace morph::text

namespace {

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("morph-text-" + std::to_string(getpid()));
  Registry registry;
  Folder() {
    std::filesystem::create_directories(path);
    text::register_read(registry);
    text::register_write(registry);
    text::register_payload(registry);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string put(const std::string& name, const std::string& bytes) const {
    std::ofstream(path / name, std::ios::binary) << bytes;
    return (path / name).string();
  }
  std::string get(const std::string& name) const {
    std::ifstream stream(path / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::vector<Text> read(const Params& params) const {
    StageHarness harness(*registry.find_stage("text/read"), params);
    harness.run();
    return harness.take_as<Text>("text");
  }
  std::string refuse(const Params& params, ErrorCode code) const {
    try {
      read(params);
    } catch (const Error& error) {
      CHECK(to_string(error.code()) == to_string(code));
      return error.what();
    }
    FAIL("expected an Error");
    return "";
  }
};

Text piece(const std::string& utf8, std::size_t end, bool last) {
  Text text;
  text.utf8 = utf8;
  text.answer_end = end;
  text.last_of_answer = last;
  return text;
}

}  // namespace

TEST_CASE("a text survives its wire form", "[unit][text]") {
  Text text = piece("héllo", 17, true);
  text.language = "fr";
  text.turn_state = TurnState::tentative;
  text.pause_index = 3;
  text.stable_bytes = 2;
  text.spans.push_back({"hé", 0.5, 1.25, 0.75f, std::array<float, 8>{1, 2, 3, 4, 5, 6, 7, 8}});
  text.spans.push_back({"llo", 0, 0, 1.0f, std::nullopt});
  std::vector<std::byte> bytes;
  text.encode(bytes);
  const auto back = std::dynamic_pointer_cast<const Text>(text::decode_text(bytes));
  REQUIRE(back);
  CHECK(back->utf8 == text.utf8);
  CHECK(back->language == "fr");
  CHECK(back->turn_state == TurnState::tentative);
  CHECK(back->pause_index == 3);
  CHECK(back->stable_bytes == 2);
  CHECK(back->answer_end == 17);
  CHECK(back->last_of_answer);
  REQUIRE(back->spans.size() == 2);
  CHECK(back->spans[0].box == text.spans[0].box);
  CHECK(back->spans[0].end_s == 1.25);
  CHECK_FALSE(back->spans[1].box);
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_THROWS_AS(text::decode_text(std::span(bytes).first(n)), Error);
  bytes.push_back(std::byte{0});
  CHECK_THROWS_AS(text::decode_text(bytes), Error);
}

TEST_CASE("UTF-8 faults are found where they are", "[unit][text]") {
  CHECK_FALSE(text::find_utf8_fault("plain, é, 東, 🙂"));
  CHECK(text::find_utf8_fault("a\nb\xFF")->line == 2);
  CHECK(text::find_utf8_fault("a\nb\xFF")->offset == 3);
  CHECK_FALSE(text::find_utf8_fault("\xC0\x80")->incomplete);      // overlong
  CHECK_FALSE(text::find_utf8_fault("\xED\xA0\x80")->incomplete);  // surrogate
  CHECK(text::find_utf8_fault("x\xE6\x9D")->incomplete);
  std::string held = "a\xE6\x9D";
  CHECK(text::take_whole_utf8(held) == "a");
  held += "\xB1";
  CHECK(text::take_whole_utf8(held) == "東");
  CHECK(held.empty());
  held = "x\xFFy";
  CHECK(text::take_whole_utf8(held) == "x\xEF\xBF\xBDy");
  CHECK(text::utf8_boundary("é!", 1) == 0);
  CHECK(text::utf8_boundary("é!", 2) == 2);
}

TEST_CASE_METHOD(Folder, "text is read from files and literals", "[unit][text]") {
  const auto from_file = read(Params({{"path", put("a.txt", "\xEF\xBB\xBFHéllo\n")}}));
  REQUIRE(from_file.size() == 1);
  CHECK(from_file[0].utf8 == "Héllo\n");
  CHECK(from_file[0].turn_state == TurnState::final);
  CHECK(read(Params({{"text", std::string("hi")}}))[0].utf8 == "hi");
  const auto lines = read(Params({{"path", put("b.txt", "one\r\n\n two\n")}, {"lines", true}}));
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].utf8 == "one");
  CHECK(lines[1].utf8 == " two");
}

TEST_CASE_METHOD(Folder, "lines wait for room", "[unit][text]") {
  std::string many;
  for (int i = 0; i < 100; ++i) many += std::to_string(i) + "\n";
  Registry registry;
  text::register_read(registry);
  StageHarness harness(*registry.find_stage("text/read"), Params({{"path", put("many.txt", many)}, {"lines", true}}));
  harness.set_space("text", 8);
  std::vector<std::string> lines;
  for (int round = 0; round < 13; ++round) {
    CHECK(harness.run() == (round < 12 ? StepStatus::output_full : StepStatus::done));
    const auto sent = harness.take_as<Text>("text");
    CHECK(sent.size() == (round < 12 ? 8u : 4u));
    for (const Text& line : sent) lines.push_back(line.utf8);
    harness.set_space("text", 8);
  }
  REQUIRE(lines.size() == 100);
  for (std::size_t i = 0; i < lines.size(); ++i) CHECK(lines[i] == std::to_string(i));
}

TEST_CASE_METHOD(Folder, "standard input is read without blocking a step", "[unit][text]") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const int kept = dup(STDIN_FILENO);
  dup2(ends[0], STDIN_FILENO);
  close(ends[0]);
  {
    StageHarness harness(*registry.find_stage("text/read"), Params({{"path", std::string("-")}}));
    CHECK(harness.step() == StepStatus::ready);  // nothing there yet: the step ends, so that a cancel can take effect
    REQUIRE(write(ends[1], "one ", 4) == 4);
    CHECK(harness.step() == StepStatus::ready);
    REQUIRE(write(ends[1], "two", 3) == 3);
    close(ends[1]);
    CHECK(harness.run() == StepStatus::done);
    const auto texts = harness.take_as<Text>("text");
    REQUIRE(texts.size() == 1);
    CHECK(texts[0].utf8 == "one two");
  }
  dup2(kept, STDIN_FILENO);
  close(kept);
}

TEST_CASE_METHOD(Folder, "what is not text is refused by name", "[unit][text]") {
  CHECK(refuse(Params({{"path", put("bad.txt", "one\ntwo \xE9t\xE9\n")}}), ErrorCode::format).find("line 2") !=
        std::string::npos);
  CHECK(refuse(Params({{"path", put("wide.txt", "\xFF\xFEh")}}), ErrorCode::format).find("UTF-16") !=
        std::string::npos);
  CHECK(refuse(Params({{"path", put("cut.txt", "caf\xC3")}}), ErrorCode::format).find("cut off") != std::string::npos);
  CHECK(refuse(Params({{"path", put("empty.txt", "")}}), ErrorCode::format).find("empty") != std::string::npos);
  CHECK(refuse(Params({{"path", (path / "none.txt").string()}}), ErrorCode::config).find("none.txt") !=
        std::string::npos);
}

TEST_CASE_METHOD(Folder, "text is recognised by its bytes", "[unit][text]") {
  CHECK(registry.sniff(put("note", "plain text\n")) == "text");
  CHECK(registry.sniff(put("music", std::string("RIFF\0\0\0\0WAVE", 12))) == "");
  CHECK(registry.sniff(put("latin", "\xE9t\xE9")) == "");
}

TEST_CASE_METHOD(Folder, "files are written whole or not at all", "[unit][text]") {
  const StageSpec& spec = *registry.find_stage("text/write");
  const auto write = [&](const std::string& name, std::vector<Packet> packets, bool end) {
    StageHarness harness(spec, Params({{"path", (path / name).string()}}));
    for (Packet& packet : packets) harness.feed("text", std::move(packet));
    if (end) harness.end("text");
    harness.run();
  };
  const auto data = [](Text text) { return Packet::data(std::make_shared<const Text>(std::move(text))); };

  write("answer.txt", {data(piece("Hello", 5, false)), data(piece(" there.", 12, true))}, true);
  CHECK(get("answer.txt") == "Hello there.\n");
  write("broken.txt", {data(piece("Hello", 5, false))}, false);
  CHECK_FALSE(std::filesystem::exists(path / "broken.txt"));

  Text partial, final_text;
  partial.utf8 = "I scream";
  partial.turn_state = TurnState::partial;
  final_text.utf8 = "Ice cream";
  final_text.language = "en";
  final_text.spans = {{"Ice", 0.0, 0.5, 0.9f, std::nullopt}, {"cream", 3661.25, 3662.0, 0.8f, std::nullopt}};
  write("turn.txt", {data(partial), data(final_text)}, true);
  CHECK(get("turn.txt") == "Ice cream\n");
  write("turn.json", {data(final_text)}, true);
  CHECK(get("turn.json").find("\"start_s\": 3661.25") != std::string::npos);
  write("turn.srt", {data(final_text)}, true);
  CHECK(get("turn.srt") == "1\n00:00:00,000 --> 00:00:00,500\nIce\n\n2\n01:01:01,250 --> 01:01:02,000\ncream\n\n");
  write("turn.vtt", {data(final_text)}, true);
  CHECK(get("turn.vtt").rfind("WEBVTT\n\n1\n00:00:00.000 --> ", 0) == 0);
  CHECK_THROWS_AS(write("x.srt", {data(piece("no times", 8, true))}, true), Error);
  CHECK_FALSE(std::filesystem::exists(path / "x.srt"));
  CHECK_THROWS_AS(write("no/such/folder.txt", {data(final_text)}, true), Error);
  for (const auto& entry : std::filesystem::directory_iterator(path)) CHECK(entry.path().extension() != ".XXXXXX");
}

TEST_CASE("a document takes back what is revised and flushed", "[unit][text]") {
  text::TextDocument document;
  const auto add = [&](Text text, std::uint64_t sequence, std::uint64_t epoch,
                       std::optional<std::uint64_t> since = {}) {
    Packet packet = Packet::data(std::make_shared<const Text>(std::move(text)));
    packet.sequence = sequence;
    packet.epoch = epoch;
    if (since) {
      packet.kind = PacketKind::revise;
      packet.since = *since;
    }
    document.add(packet);
  };
  add(piece("Wrong", 5, false), 0, 1);
  add(piece("Right", 5, false), 1, 1, 0);
  add(piece(".", 6, true), 2, 1);
  add(piece("Spec", 4, false), 3, 2);
  document.flush(3);
  add(piece("Other.", 6, true), 4, 3);
  CHECK(document.plain() == "Right.\nOther.\n");
}
