// See whisper_tokens.h.
#include "recognise/whisper_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "morph/error.h"

namespace morph::audio {
namespace {

constexpr int kMultilingualVocabulary = 51865;  // English-only ones are a token shorter; for configs that do not say
constexpr int kMaxFirstTimestamp = 50;          // a text begins within the first second
constexpr float kNever = -std::numeric_limits<float>::infinity();

bool is_language_name(std::string_view name) {
  if (name.size() < 6 || name.size() > 7 || !name.starts_with("<|") || !name.ends_with("|>")) return false;
  return std::all_of(name.begin() + 2, name.end() - 2, [](char c) { return c >= 'a' && c <= 'z'; });
}

}  // namespace

WhisperTokens::WhisperTokens(const WhisperModel& model) {
  const std::string where = (model.folder / "tokenizer.json").string();
  if (!model.tokens)
    throw Error(ErrorCode::weights, where,
                "expected a tokenizer beside the weights, found none; fetch the model again");
  const TokenText& names = *model.tokens;
  const auto need = [&](std::initializer_list<const char*> candidates) {
    for (const char* name : candidates)
      if (const auto id = names.special(name); id && *id < model.config.vocab_size) return *id;
    throw Error(
        ErrorCode::weights, where,
        fmt::format("expected a token {} within the vocabulary of {}, found none; the tokenizer is of another model",
                    *candidates.begin(), model.config.vocab_size));
  };
  start = need({"<|startoftranscript|>"});
  end = need({"<|endoftext|>"});
  transcribe = need({"<|transcribe|>"});
  translate = need({"<|translate|>"});
  previous = need({"<|startofprev|>"});
  no_speech = need({"<|nospeech|>", "<|nocaptions|>"});
  no_timestamps = need({"<|notimestamps|>"});
  first_timestamp = no_timestamps + 1;
  if (first_timestamp >= model.config.vocab_size)
    throw Error(ErrorCode::weights, where,
                fmt::format("expected timestamps behind <|notimestamps|> ({}), found the end of the vocabulary of {}; "
                            "the tokenizer is of another model",
                            no_timestamps, model.config.vocab_size));
  if (!model.config.is_multilingual.value_or(model.config.vocab_size >= kMultilingualVocabulary)) return;
  for (const auto& [name, id] : names.specials())
    if (is_language_name(name) && id > start && id < no_timestamps) languages[name.substr(2, name.size() - 4)] = id;
}

std::vector<int> WhisperTokens::prompt(const std::string& language, bool translating, bool timestamps) const {
  std::vector<int> tokens{start};
  if (multilingual()) {
    const auto found = languages.find(language);
    if (found == languages.end())
      throw Error(
          ErrorCode::config, "language",
          fmt::format("expected a language code that the model knows (en, de, zh, ...) or auto, found '{}'", language));
    tokens.push_back(found->second);
    tokens.push_back(translating ? translate : transcribe);
  }
  if (!timestamps) tokens.push_back(no_timestamps);
  return tokens;
}

WhisperRules::WhisperRules(const WhisperModel& model, const WhisperTokens& tokens, bool timestamps, int n_audio)
    : tokens_(&tokens), timestamps_(timestamps), last_timestamp_(tokens.first_timestamp + n_audio) {
  for (const auto& [name, id] : model.tokens->specials())
    if (id != tokens.end && id < tokens.first_timestamp) never_.push_back(id);
  never_.push_back(tokens.no_timestamps);
  never_.insert(never_.end(), model.config.suppress_tokens.begin(), model.config.suppress_tokens.end());
  never_first_ = model.config.begin_suppress_tokens;
  std::erase_if(never_, [&](int id) { return id < 0 || id >= model.config.vocab_size || id == tokens.end; });
  std::erase_if(never_first_, [&](int id) { return id < 0 || id >= model.config.vocab_size; });
}

void WhisperRules::apply(std::span<float> logits, std::span<const int> written) const {
  for (const int id : never_) logits[static_cast<std::size_t>(id)] = kNever;
  if (written.empty())
    for (const int id : never_first_) logits[static_cast<std::size_t>(id)] = kNever;
  if (timestamps_)
    apply_timestamps(logits, written);
  else
    std::fill(logits.begin() + tokens_->first_timestamp, logits.end(), kNever);
}

void WhisperRules::apply_timestamps(std::span<float> logits, std::span<const int> written) const {
  const auto never = [&](int from, int to) {
    from = std::clamp(from, 0, static_cast<int>(logits.size()));
    to = std::clamp(to, from, static_cast<int>(logits.size()));
    std::fill(logits.begin() + from, logits.begin() + to, kNever);
  };
  const int first = tokens_->first_timestamp, n = static_cast<int>(logits.size());
  never(last_timestamp_ + 1, n);
  if (written.empty()) {
    never(0, first);
    never(first + kMaxFirstTimestamp + 1, n);
    return;
  }
  const bool last = tokens_->is_timestamp(written.back());
  const bool before = written.size() < 2 || tokens_->is_timestamp(written[written.size() - 2]);
  if (last && before) never(first, n);
  if (last && !before) never(0, tokens_->end);
  const auto latest = std::find_if(written.rbegin(), written.rend(), [&](int id) { return tokens_->is_timestamp(id); });
  if (latest != written.rend()) never(first, last && !before ? *latest : *latest + 1);
  const double stamps = log_sum_exp(logits.subspan(static_cast<std::size_t>(first)));
  const float likeliest = *std::max_element(logits.begin(), logits.begin() + first);
  if (stamps > static_cast<double>(likeliest)) never(0, first);
}

double log_sum_exp(std::span<const float> logits) {
  const float top = *std::max_element(logits.begin(), logits.end());
  if (!(top > kNever)) return kNever;
  float sum = 0.0f;
  for (const float logit : logits)
    if (logit > top - 30.0f) sum += std::exp(logit - top);
  return static_cast<double>(top) + std::log(static_cast<double>(sum));
}

}  // namespace morph::audio
