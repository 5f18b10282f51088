// Tokenizers against Hugging Face's library (sets made by make_golden.py), round trips of random bytes, rank files and
// word lists, and hostile files.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "morph/error.h"
#include "morph/tokenizer.h"
#include "tokens/byte_alphabet.h"
#include "tokens/code_points.h"
#include "tokens/pattern.h"

namespace fs = std::filesystem;

namespace morph::text {
namespace {

using nlohmann::json;

fs::path golden() {
  const char* source = std::getenv("MORPH_SOURCE_DIR");
  REQUIRE(source != nullptr);
  return fs::path(source) / "tests" / "modalities" / "text" / "tokens" / "golden";
}

std::string read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Folder {
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  fs::path put(const std::string& name, const std::string& bytes) const {
    std::ofstream(path / name, std::ios::binary) << bytes;
    return path / name;
  }
  fs::path path = fs::temp_directory_path() / ("morph-tokens-" + std::to_string(getpid()));
};

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(to_string(error.code()) == to_string(ErrorCode::weights));
    return error.what();
  }
  return "nothing was refused";
}

TEST_CASE("tokenizers give the ids and texts of Hugging Face's library", "[unit]") {
  std::size_t n_sets = 0;
  for (const auto& entry : fs::directory_iterator(golden())) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".cases.json") || !name.ends_with(".json")) continue;
    ++n_sets;
    const auto tokenizer = parse_tokenizer(read(entry.path()), name);
    for (const json& one : json::parse(read(golden() / (entry.path().stem().string() + ".cases.json")))) {
      const auto text = one["text"].get<std::string>();
      CAPTURE(name, one["text"].dump(-1, ' ', true));
      const auto ids = one["ids"].get<std::vector<int>>();
      CHECK(tokenizer->encode(text).ids == ids);
      CHECK(tokenizer->encode(text, {false, 0}).ids == one["plain"].get<std::vector<int>>());
      CHECK(tokenizer->decode(ids) == one["decoded"].get<std::string>());
    }
  }
  CHECK(n_sets >= 9);
}

TEST_CASE("what is encoded is decoded again, whatever it is", "[unit]") {
  std::mt19937 random(7);
  for (const char* name : {"byte_level_bpe.json", "split_bpe.json"}) {
    const auto tokenizer = read_tokenizer(golden() / name);
    for (int round = 0; round < 300; ++round) {
      std::string text;
      const std::size_t n = random() % 40;
      for (std::size_t i = 0; i < n; ++i) switch (random() % 5) {
          case 0:
            text += static_cast<char>(random() % 128);
            break;
          case 1:
            append_utf8(text, 0x80 + random() % 0x700);
            break;
          case 2:
            append_utf8(text, 0x4E00 + random() % 0x100);
            break;
          case 3:
            append_utf8(text, 0x1F600 + random() % 0x40);
            break;
          default:
            text += "  \n'\t"[random() % 5];
        }
      if (std::string_view(name).starts_with("split") && text != whole_utf8(text)) continue;
      const std::vector<int> ids = tokenizer->encode(text, {false, 0}).ids;
      std::string pieces;
      for (const int id : ids) pieces += tokenizer->piece(id);
      if (std::string_view(name).starts_with("byte")) {  // the other one composes accents
        CAPTURE(text);
        CHECK(tokenizer->decode(ids) == text);
        CHECK(pieces == text);
      } else {
        CHECK(tokenizer->decode(ids) == pieces);
      }
    }
    // Bytes that are no text become U+FFFD, and stay it.
    CHECK(tokenizer->decode(tokenizer->encode("a\xFF\xC3z", {false, 0}).ids) == "a\uFFFD\uFFFDz");
  }
}

TEST_CASE("a limit cuts the text, not what surrounds it", "[unit]") {
  const auto tokenizer = read_tokenizer(golden() / "word_piece.json");
  const Encoded whole = tokenizer->encode("the quick brown fox"),
                cut = tokenizer->encode("the quick brown fox", {true, 4});
  CHECK(whole.n_cut == 0);
  CHECK(cut.ids.size() == 4);
  CHECK(cut.n_cut == whole.ids.size() - 4);
  CHECK(cut.ids.front() == *tokenizer->id_of("[CLS]"));
  CHECK(cut.ids.back() == *tokenizer->id_of("[SEP]"));
  CHECK(tokenizer->is_special(cut.ids.front()));
  CHECK(tokenizer->token(cut.ids.front()) == "[CLS]");
  CHECK(tokenizer->encode("the", {true, 1}).n_cut > 0);
}

TEST_CASE("rank files and word lists become tokenizers", "[unit]") {
  const Folder folder;
  // The byte-level vocabulary of a golden set, as ranks in the order in which it was learnt.
  const json document = json::parse(read(golden() / "split_bpe.json"));
  std::string ranks;
  const auto base64 = [](const std::string& bytes) {
    static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
      std::uint32_t held = 0;
      for (std::size_t k = 0; k < 3; ++k)
        held = held << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
      for (std::size_t k = 0; k < 4; ++k) text += i + k <= bytes.size() ? kDigits[(held >> (18 - 6 * k)) & 63] : '=';
    }
    return text;
  };
  for (const auto& [token, id] : document["model"]["vocab"].items())
    ranks += base64(unspell_bytes(token)) + " " + std::to_string(id.get<int>()) + "\n";
  const auto from_ranks = read_tokenizer(folder.put("toy.tiktoken", ranks));
  const auto original = read_tokenizer(golden() / "split_bpe.json");
  for (const std::string text : {"The lazy dog's 1999 foxes", "def f(x):\n    return", "Größe 猫 😀"})
    CHECK(from_ranks->encode(text).ids == original->encode(text, {false, 0}).ids);
  CHECK(read_tokenizer(folder.path)->encode("fox").ids == from_ranks->encode("fox").ids);
  // Written and read again.
  const auto again = parse_tokenizer(tokenizer_json(folder.path), "again");
  CHECK(again->encode("The quick brown").ids == from_ranks->encode("The quick brown").ids);

  std::vector<std::string> words;
  const json pieces = json::parse(read(golden() / "word_piece.json"));
  for (const auto& [token, id] : pieces["model"]["vocab"].items()) {
    if (words.size() <= id.get<std::size_t>()) words.resize(id.get<std::size_t>() + 1);
    words[id.get<std::size_t>()] = token;
  }
  std::string list;
  for (const std::string& word : words) list += word + "\n";
  const auto from_words = read_tokenizer(folder.put("vocab.txt", list));
  const auto reference = read_tokenizer(golden() / "word_piece.json");
  for (const std::string text : {"The lazy dog's 1999 foxes", "Größe, café", "[MASK] here"})
    CHECK(from_words->encode(text).ids == reference->encode(text).ids);
}

TEST_CASE("hostile tokenizers are refused by name", "[unit]") {
  const Folder folder;
  const auto with = [&](const std::string& name, const std::string& bytes) {
    return refusal([&] { read_tokenizer(folder.put(name, bytes)); });
  };
  const auto changed = [&](const std::string& set, const std::string& pointer, const json& value) {
    json document = json::parse(read(golden() / set));
    document[json::json_pointer(pointer)] = value;
    return with("tokenizer.json", document.dump());
  };
  CHECK_THAT(with("tokenizer.json", std::string(200000, '[') + std::string(200000, ']')), Catch::Contains("levels"));
  CHECK_THAT(with("tokenizer.json", "{\"model\":" + std::string(1000, '{')), Catch::Contains("tokenizer.json"));
  CHECK_THAT(with("tokenizer.json", "[]"), Catch::Contains("tokenizer.json"));
  CHECK_THAT(with("tokenizer.json", "{}"), Catch::Contains("model"));
  CHECK_THAT(changed("byte_level_bpe.json", "/model/vocab", {{"a", 1e15}}), Catch::Contains("vocab"));
  CHECK_THAT(changed("byte_level_bpe.json", "/model/vocab", {{"a", -1}}), Catch::Contains("vocab"));
  CHECK_THAT(changed("byte_level_bpe.json", "/model/vocab", {{"a", 1}, {"b", 1}}), Catch::Contains("once"));
  CHECK_THAT(changed("byte_level_bpe.json", "/model/merges", {"zz qq"}), Catch::Contains("merges/0"));
  CHECK_THAT(changed("byte_level_bpe.json", "/pre_tokenizer/type", "Mystery"), Catch::Contains("pre_tokenizer/type"));
  CHECK_THAT(changed("split_bpe.json", "/post_processor/special_tokens", json::object()),
             Catch::Contains("special_tokens"));
  CHECK_THAT(changed("split_bpe.json", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "(a"),
             Catch::Contains("pretokenizers/0/pattern/Regex"));
  CHECK_THAT(changed("unigram.json", "/model/unk_id", 100000), Catch::Contains("unk_id"));
  CHECK_THAT(changed("word_piece.json", "/model/max_input_chars_per_word", -3),
             Catch::Contains("max_input_chars_per_word"));
  CHECK_THAT(changed("unigram.json", "/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "////AA=="}}),
             Catch::Contains("precompiled_charsmap"));
  CHECK_THAT(with("a.tiktoken", "!!!! 1\n"), Catch::Contains("base64"));
  CHECK_THAT(with("a.tiktoken", "YWI= 1\n"), Catch::Contains("a.tiktoken"));  // "ab" of no two tokens
  fs::remove(folder.path / "tokenizer.json");
  fs::remove(folder.path / "a.tiktoken");
  CHECK_THAT(refusal([&] { read_tokenizer(folder.path); }), Catch::Contains("vocab.txt"));
}

TEST_CASE("a pattern that never ends is given up", "[unit]") {
  const Pattern slow = Pattern::regex("(a+)+b", "here");
  CHECK_THAT(refusal([&] { slow.find_all(std::string(64, 'a')); }), Catch::Contains("here"));
}

TEST_CASE("a long text without a break takes no long time", "[unit]") {
  // SentencePiece's BPE takes a whole text as one piece: merging must not look at every pair again and again.
  const auto tokenizer = read_tokenizer(golden() / "sentencepiece_bpe.json");
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "the quick ";
  CHECK(tokenizer->encode(text).ids.size() > 20000);
}

}  // namespace
}  // namespace morph::text
