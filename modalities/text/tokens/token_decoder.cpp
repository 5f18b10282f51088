// The decoders that published tokenizers use, as Hugging Face's library defines them.
#include "tokens/token_decoder.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "tokens/byte_alphabet.h"
#include "tokens/code_points.h"
#include "tokens/pattern.h"

namespace morph::text {
namespace {

/// The byte that "<0x0A>" stands for, or -1.
int spelled_byte(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  const auto parsed = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  return parsed.ptr == token.data() + 5 ? value : -1;
}

/// Bytes in a row become their characters; when they are no UTF-8 as a whole, each becomes U+FFFD.
void fall_back(std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    const bool good = whole_utf8(bytes) == bytes;
    for (std::size_t i = 0; !good && i < bytes.size(); ++i) out.emplace_back("\uFFFD");
    if (good) out.push_back(bytes);
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const int byte = spelled_byte(token); byte >= 0) {
      bytes += static_cast<char>(byte);
    } else {
      flush();
      out.push_back(std::move(token));
    }
  }
  flush();
  tokens = std::move(out);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

/// English contractions and marks joined to the word before them.
std::string cleaned(std::string text) {
  for (const auto& [from, to] :
       std::initializer_list<std::pair<std::string_view, std::string_view>>{{" .", "."},
                                                                            {" ?", "?"},
                                                                            {" !", "!"},
                                                                            {" ,", ","},
                                                                            {" ' ", "'"},
                                                                            {" n't", "n't"},
                                                                            {" 'm", "'m"},
                                                                            {" do not", " don't"},
                                                                            {" 's", "'s"},
                                                                            {" 've", "'ve"},
                                                                            {" 're", "'re"}})
    text = replaced(std::move(text), from, to);
  return text;
}

void join(std::vector<std::string>& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens.assign(1, std::move(all));
}

void strip_ends(std::string& token, const std::string& what, std::size_t at_start, std::size_t at_end) {
  if (what.empty()) return;
  for (; at_start > 0 && token.starts_with(what); --at_start) token.erase(0, what.size());
  for (; at_end > 0 && token.ends_with(what); --at_end) token.erase(token.size() - what.size());
}

}  // namespace

TokenDecoder::TokenDecoder(const JsonPart& part) { add(part, 0); }

void TokenDecoder::add(const JsonPart& part, int depth) {
  if (part.json.is_null()) return;
  const std::string type = part.type();
  if (type == "Sequence") {
    if (depth > 4) part.refuse("decoders", "at most four levels");
    std::size_t i = 0;
    for (const auto& step : part.list("decoders", kMaxSteps))
      add({step, fmt::format("{}/decoders/{}", part.where, i++)}, depth + 1);
  } else if (type == "ByteLevel") {
    byte_level_ = true;
    steps_.emplace_back([](Tokens& tokens) {
      join(tokens);
      tokens.front() = unspell_bytes(tokens.front());
    });
  } else if (type == "WordPiece") {
    steps_.emplace_back([prefix = part.text("prefix", "##"), clean = part.flag("cleanup", true)](Tokens& tokens) {
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        if (i > 0) tokens[i] = tokens[i].starts_with(prefix) ? tokens[i].substr(prefix.size()) : " " + tokens[i];
        if (clean) tokens[i] = cleaned(std::move(tokens[i]));
      }
    });
  } else if (type == "Metaspace") {
    const bool first = part.text("prepend_scheme", part.flag("add_prefix_space", true) ? "always" : "never") != "never";
    steps_.emplace_back([mark = part.text("replacement", "\xE2\x96\x81"), first](Tokens& tokens) {
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        if (i == 0 && first && tokens[i].starts_with(mark)) tokens[i].erase(0, mark.size());
        tokens[i] = replaced(std::move(tokens[i]), mark, " ");
      }
    });
  } else if (type == "BPEDecoder") {
    steps_.emplace_back([suffix = part.text("suffix", "</w>")](Tokens& tokens) {
      if (suffix.empty()) return;
      for (std::size_t i = 0; i < tokens.size(); ++i)
        tokens[i] = replaced(std::move(tokens[i]), suffix, i + 1 < tokens.size() ? " " : "");
    });
  } else if (type == "ByteFallback") {
    steps_.emplace_back(fall_back);
  } else if (type == "Fuse") {
    steps_.emplace_back(join);
  } else if (type == "Strip") {
    const auto start = static_cast<std::size_t>(part.integer("start", 0, 1 << 20)),
               stop = static_cast<std::size_t>(part.integer("stop", 0, 1 << 20));
    steps_.emplace_back([what = part.text("content"), start, stop](Tokens& tokens) {
      for (std::string& token : tokens) strip_ends(token, what, start, stop);
    });
  } else if (type == "Replace") {
    const JsonPart pattern = part.at("pattern");
    const Pattern made = pattern.find("String") != nullptr
                             ? Pattern::plain(pattern.text("String"))
                             : Pattern::regex(pattern.text("Regex"), pattern.where + "/Regex");
    steps_.emplace_back([made, with = part.text("content")](Tokens& tokens) {
      for (std::string& token : tokens) token = made.replace_all(token, with);
    });
  } else {
    part.refuse("type", "a decoder that is known, not \"" + type.substr(0, 40) + "\"");
  }
}

std::string TokenDecoder::operator()(std::vector<std::string> tokens) const {
  std::string text;
  if (steps_.empty()) {
    for (std::size_t i = 0; i < tokens.size(); ++i) text += (i == 0 ? "" : " ") + tokens[i];
    return text;
  }
  for (const Step& step : steps_) step(tokens);
  for (const std::string& token : tokens) text += token;
  return text;
}

}  // namespace morph::text
