// The pre-tokenizers that published tokenizers use, as Hugging Face's library defines them.
#include "tokens/pre_tokenizer.h"

#include <utility>

#include "tokens/byte_alphabet.h"
#include "tokens/code_points.h"
#include "tokens/pattern.h"

namespace morph::text {
namespace {

/// GPT-2's words: contractions, letters, digits, other marks, each with the space before it.
constexpr std::string_view kByteLevelWords =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

SplitBehaviour behaviour_of(const JsonPart& part, std::string_view otherwise) {
  const std::string name = part.text("behavior", otherwise);
  if (name == "Removed" || name == "removed") return SplitBehaviour::removed;
  if (name == "Isolated" || name == "isolated") return SplitBehaviour::isolated;
  if (name == "MergedWithPrevious" || name == "merged_with_previous") return SplitBehaviour::merged_with_previous;
  if (name == "MergedWithNext" || name == "merged_with_next") return SplitBehaviour::merged_with_next;
  if (name == "Contiguous" || name == "contiguous") return SplitBehaviour::contiguous;
  part.refuse("behavior", "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

/// A prefix before a text, unless it is there or the text is empty. (Written out: GCC 12 warns of operator+ here.)
std::string with_prefix(const std::string& prefix, const std::string& text) {
  std::string whole;
  if (!text.empty() && !text.starts_with(prefix)) whole.append(prefix);
  whole.append(text);
  return whole;
}

std::vector<std::string> byte_level(const std::string& text, bool add_prefix_space, const Pattern* words) {
  const std::string whole = add_prefix_space ? with_prefix(" ", text) : text;
  std::vector<std::string> pieces =
      words != nullptr ? words->split(whole, SplitBehaviour::isolated, false) : std::vector<std::string>(1, whole);
  for (std::string& piece : pieces) piece = spell_bytes(piece);
  return pieces;
}

std::vector<std::string> bert_words(const std::string& text) {
  std::vector<std::string> words;
  for (const std::string& word : split_at(text, matches_of(text, is_white_space), SplitBehaviour::removed))
    for (std::string& piece : split_at(word, matches_of(word, is_punctuation), SplitBehaviour::isolated))
      words.push_back(std::move(piece));
  return words;
}

struct MetaspaceRule {
  std::string mark;
  bool always = true, never = false, split = true;
};

std::vector<std::string> metaspace(const std::string& text, bool at_start, const MetaspaceRule& rule) {
  const bool prepends = rule.always || (at_start && !rule.never);
  const std::string marked = Pattern::plain(" ").replace_all(text, rule.mark),
                    whole = prepends ? with_prefix(rule.mark, marked) : marked;
  if (!rule.split) return std::vector<std::string>(1, whole);
  return Pattern::plain(rule.mark).split(whole, SplitBehaviour::merged_with_next, false);
}

MetaspaceRule metaspace_rule(const JsonPart& part) {
  MetaspaceRule rule;
  rule.mark = part.text("replacement", "\xE2\x96\x81");
  const std::string scheme = part.text("prepend_scheme", part.flag("add_prefix_space", true) ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never")
    part.refuse("prepend_scheme", "always, first or never");
  rule.always = scheme == "always";
  rule.never = scheme == "never";
  rule.split = part.flag("split", true);
  return rule;
}

}  // namespace

PreTokenizer::PreTokenizer(const JsonPart& part) { add(part, 0); }

void PreTokenizer::add(const JsonPart& part, int depth) {
  if (part.json.is_null()) return;
  const std::string type = part.type();
  const auto split_by = [&](Pattern pattern, SplitBehaviour behaviour, bool inverted) {
    steps_.emplace_back([pattern = std::move(pattern), behaviour, inverted](const std::string& text, bool) {
      return pattern.split(text, behaviour, inverted);
    });
  };
  if (type == "Sequence") {
    if (depth > 4) part.refuse("pretokenizers", "at most four levels");
    std::size_t i = 0;
    for (const auto& step : part.list("pretokenizers", kMaxSteps))
      add({step, fmt::format("{}/pretokenizers/{}", part.where, i++)}, depth + 1);
  } else if (type == "ByteLevel") {
    const bool space = part.flag("add_prefix_space", true), words = part.flag("use_regex", true);
    const Pattern pattern = Pattern::regex(kByteLevelWords, part.where);
    steps_.emplace_back([space, words, pattern](const std::string& text, bool) {
      return byte_level(text, space, words ? &pattern : nullptr);
    });
  } else if (type == "BertPreTokenizer") {
    steps_.emplace_back([](const std::string& text, bool) { return bert_words(text); });
  } else if (type == "Whitespace") {
    split_by(Pattern::regex(R"(\w+|[^\w\s]+)", part.where), SplitBehaviour::removed, true);
  } else if (type == "WhitespaceSplit") {
    steps_.emplace_back([](const std::string& text, bool) {
      return split_at(text, matches_of(text, is_white_space), SplitBehaviour::removed);
    });
  } else if (type == "Punctuation") {
    steps_.emplace_back([behaviour = behaviour_of(part, "Isolated")](const std::string& text, bool) {
      return split_at(text, matches_of(text, is_punctuation), behaviour);
    });
  } else if (type == "Digits") {
    const auto behaviour =
        part.flag("individual_digits", false) ? SplitBehaviour::isolated : SplitBehaviour::contiguous;
    steps_.emplace_back(
        [behaviour](const std::string& text, bool) { return split_at(text, matches_of(text, is_numeric), behaviour); });
  } else if (type == "CharDelimiterSplit") {
    split_by(Pattern::plain(part.text("delimiter")), SplitBehaviour::removed, false);
  } else if (type == "Metaspace") {
    steps_.emplace_back([rule = metaspace_rule(part)](const std::string& text, bool at_start) {
      return metaspace(text, at_start, rule);
    });
  } else if (type == "Split") {
    const JsonPart pattern = part.at("pattern");
    split_by(pattern.find("String") != nullptr ? Pattern::plain(pattern.text("String"))
                                               : Pattern::regex(pattern.text("Regex"), pattern.where + "/Regex"),
             behaviour_of(part, "Isolated"), part.flag("invert", false));
  } else {
    part.refuse("type", "a pre-tokenizer that is known, not \"" + type.substr(0, 40) + "\"");
  }
}

std::vector<std::string> PreTokenizer::operator()(std::string text, bool at_start) const {
  Pieces pieces;
  if (text.empty()) return pieces;
  pieces.push_back(std::move(text));
  for (const Step& step : steps_) {
    Pieces next;
    for (std::size_t i = 0; i < pieces.size(); ++i)
      for (std::string& piece : step(std::move(pieces[i]), at_start && i == 0))
        if (!piece.empty()) next.push_back(std::move(piece));
    pieces = std::move(next);
  }
  return pieces;
}

}  // namespace morph::text
