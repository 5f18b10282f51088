// See window_decoder.h.
#include "recognise/window_decoder.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>

#include "morph/error.h"
#include "recognise/beam_search.h"

namespace morph::audio {
namespace {

constexpr double kPositionSeconds = 0.02;
constexpr double kMostTokensPerSecond = 8.0;  // that are said
constexpr double kSureLogprob = -0.2;  // mean per token; clear speech lies above, and a search would find the same text

/// Sampled (temperature > 0) or likeliest token, and its log probability at temperature 1.
std::pair<int, double> choose(std::span<const float> logits, double temperature, std::mt19937_64& random) {
  const double total = log_sum_exp(logits);
  std::size_t chosen = static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  if (temperature > 0) {
    const float top = logits[chosen];
    std::vector<double> weights(logits.size());
    double sum = 0;
    for (std::size_t i = 0; i < logits.size(); ++i)
      sum += weights[i] = std::exp((static_cast<double>(logits[i]) - top) / temperature);
    // The standard's distributions differ between libraries; this draws the same everywhere.
    double at = static_cast<double>(random() >> 11) * 0x1.0p-53 * sum;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (weights[i] == 0) continue;
      chosen = i;
      if ((at -= weights[i]) < 0) break;
    }
  }
  return {static_cast<int>(chosen), static_cast<double>(logits[chosen]) - total};
}

/// A search may find a better text. Not where there is no speech: that would only cost time.
bool doubtful(const WindowText& text, const HearOptions& options) {
  const bool silent = text.no_speech > options.max_no_speech && text.mean_logprob < options.min_logprob;
  return !silent && text.mean_logprob < kSureLogprob;
}

double mean_logprob(const std::vector<float>& probabilities, double sum) {
  return sum / static_cast<double>(probabilities.size() + 1);
}

}  // namespace

double compression_ratio(const std::string& text) {
  if (text.empty()) return 0;
  uLongf size = compressBound(text.size());
  std::vector<Bytef> packed(size);
  if (compress2(packed.data(), &size, reinterpret_cast<const Bytef*>(text.data()), text.size(), 6) != Z_OK || size == 0)
    return 0;
  return static_cast<double>(text.size()) / static_cast<double>(size);
}

Decoding<LanguageScores> WindowDecoder::detect_language() {
  LanguageScores found;
  if (!tokens_->multilingual()) co_return found;
  FeedRequest start = FeedRequest::in_a_row({tokens_->start}, 0);
  const std::span<const float> logits = co_await port_->feed(std::move(start));
  std::vector<float> all;
  for (const auto& [code, id] : tokens_->languages) all.push_back(logits[static_cast<std::size_t>(id)]);
  const double total = log_sum_exp(all);
  std::size_t at = 0;
  for (const auto& [code, id] : tokens_->languages)
    found.logprobs.emplace_back(code, static_cast<double>(all[at++]) - total);
  std::stable_sort(found.logprobs.begin(), found.logprobs.end(),
                   [](const auto& x, const auto& y) { return x.second > y.second; });
  found.best = found.logprobs.front().first;
  found.probability = std::exp(found.logprobs.front().second);
  co_return found;
}

WindowDecoder::Prompt WindowDecoder::prompt(const DecodeTask& task) const {
  const int room = model_->config.max_target_positions / 2 - 1;
  Prompt made;
  std::vector<int> before = task.prompt;
  if (static_cast<int>(before.size()) > room) before.erase(before.begin(), before.end() - room);
  const std::vector<int>& context = task.options.context;
  const std::size_t keep = std::min(context.size(), static_cast<std::size_t>(room) - before.size());
  before.insert(before.end(), context.end() - static_cast<std::ptrdiff_t>(keep), context.end());
  if (!before.empty()) {
    made.tokens.push_back(tokens_->previous);
    made.tokens.insert(made.tokens.end(), before.begin(), before.end());
  }
  made.start_at = static_cast<int>(made.tokens.size());
  const std::vector<int> opening = tokens_->prompt(task.options.language, task.options.translating, task.timestamps);
  made.tokens.insert(made.tokens.end(), opening.begin(), opening.end());
  return made;
}

Decoding<bool> WindowDecoder::sample(WindowText& text, const WhisperRules& rules, std::vector<float> scores,
                                     int n_prompt, int limit, std::mt19937_64& random) {
  double sum = 0;
  while (static_cast<int>(text.tokens.size()) < limit) {
    rules.apply(scores, text.tokens);
    const auto [token, logprob] = choose(scores, text.temperature, random);
    sum += logprob;
    ++text.n_decoded;
    if (token == tokens_->end) {
      text.finished = true;
      break;
    }
    text.tokens.push_back(token);
    text.probabilities.push_back(static_cast<float>(std::exp(logprob)));
    if (loops(text.tokens, sound_s_)) break;
    FeedRequest next = FeedRequest::in_a_row({token}, n_prompt + static_cast<int>(text.tokens.size()) - 1);
    const std::span<const float> after = co_await port_->feed(std::move(next));
    scores.assign(after.begin(), after.end());
  }
  text.mean_logprob = mean_logprob(text.probabilities, sum);
  co_return true;
}

Decoding<bool> WindowDecoder::sample_best(WindowText& text, const WhisperRules& rules, std::vector<float> scores,
                                          int n_prompt, int limit, int n_texts, std::mt19937_64& random) {
  struct Drawn {
    WindowText text;
    double sum = 0;
    std::vector<int> rows;
    std::vector<float> scores;
    bool open = true;
  };
  std::vector<Drawn> all(static_cast<std::size_t>(n_texts));
  for (Drawn& one : all) {
    one.text.temperature = text.temperature;
    one.scores = scores;
  }
  int next_row = n_prompt;
  for (bool any = true; any;) {
    FeedRequest request;
    request.n_prefix = n_prompt;
    std::vector<Drawn*> fed;
    for (Drawn& one : all) {
      if (!one.open) continue;
      rules.apply(one.scores, one.text.tokens);
      const auto [token, logprob] = choose(one.scores, text.temperature, random);
      one.sum += logprob;
      ++text.n_decoded;
      one.text.finished = token == tokens_->end;
      one.open = !one.text.finished;
      if (!one.open) continue;
      one.text.tokens.push_back(token);
      one.text.probabilities.push_back(static_cast<float>(std::exp(logprob)));
      one.open =
          !loops(one.text.tokens, sound_s_) && static_cast<int>(one.text.tokens.size()) < limit && next_row < n_rows_;
      if (!one.open) continue;
      one.rows.push_back(next_row++);
      request.outputs.push_back(static_cast<int>(request.tokens.size()));
      request.tokens.push_back(token);
      request.positions.push_back(n_prompt + static_cast<int>(one.text.tokens.size()) - 1);
      request.rows.push_back(one.rows.back());
      request.seen.push_back(one.rows);
      fed.push_back(&one);
    }
    any = !fed.empty();
    if (!any) break;
    const std::span<const float> after = co_await port_->feed(std::move(request));
    const std::size_t n_vocab = after.size() / fed.size();
    for (std::size_t i = 0; i < fed.size(); ++i) {
      const auto one = after.subspan(i * n_vocab, n_vocab);
      fed[i]->scores.assign(one.begin(), one.end());
    }
  }
  const Drawn* best = nullptr;
  for (Drawn& one : all) {
    one.text.mean_logprob = mean_logprob(one.text.probabilities, one.sum);
    const bool better = best == nullptr || (one.text.finished && !best->text.finished) ||
                        (one.text.finished == best->text.finished && one.text.mean_logprob > best->text.mean_logprob);
    if (better) best = &one;
  }
  text.tokens = best->text.tokens;
  text.probabilities = best->text.probabilities;
  text.mean_logprob = best->text.mean_logprob;
  text.finished = best->text.finished;
  co_return true;
}

Decoding<WindowText> WindowDecoder::attempt(const DecodeTask& task, double temperature, int n_beams,
                                            std::mt19937_64& random) {
  const Prompt given = prompt(task);
  WindowText text;
  text.temperature = temperature;
  const WhisperRules rules(*model_, *tokens_, task.timestamps, task.n_audio);
  const int n_prompt = static_cast<int>(given.tokens.size());
  FeedRequest opening = FeedRequest::in_a_row(given.tokens, 0);
  opening.outputs = {given.start_at, n_prompt - 1};
  const std::span<const float> first = co_await port_->feed(std::move(opening));
  const std::size_t n_vocab = static_cast<std::size_t>(model_->config.vocab_size);
  const auto at_start = first.first(n_vocab);
  text.no_speech =
      std::exp(static_cast<double>(at_start[static_cast<std::size_t>(tokens_->no_speech)]) - log_sum_exp(at_start));
  if (!std::isfinite(text.no_speech))
    throw Error(ErrorCode::weights, model_->folder.string(),
                "the recogniser computes numbers that are not finite; its weights are damaged, fetch the model again");
  std::vector<float> scores(first.begin() + static_cast<std::ptrdiff_t>(n_vocab), first.end());
  const int limit = std::min(task.max_tokens, model_->config.max_target_positions - n_prompt - 1);
  // Rows for texts that are drawn side by side.
  const int n_texts = std::min(task.options.best_of, (n_rows_ - n_prompt) / std::max(1, limit));
  if (n_beams > 1) {
    BeamSearch search(*port_, *tokens_, rules, n_rows_, sound_s_);
    BeamText best = co_await search.run(n_prompt, std::move(scores), n_beams, limit);
    text.mean_logprob = best.mean_logprob();
    text.probabilities.assign(best.tokens.size(), static_cast<float>(std::exp(std::min(0.0, text.mean_logprob))));
    text.tokens = std::move(best.tokens);
    text.finished = best.finished;
    text.n_decoded = search.n_steps();
  } else if (temperature > 0 && n_texts > 1) {
    co_await sample_best(text, rules, std::move(scores), n_prompt, limit, n_texts, random);
  } else {
    co_await sample(text, rules, std::move(scores), n_prompt, limit, random);
  }
  text.compression = compression_ratio(model_->tokens->text(text.tokens));
  co_return text;
}

Decoding<WindowText> WindowDecoder::decode(DecodeTask task) {
  const HearOptions& options = task.options;
  sound_s_ = kPositionSeconds * task.n_audio;
  std::mt19937_64 random(options.seed);
  WindowText text, best;
  int n_decoded = 0;
  bool any = false;
  for (const double temperature : options.temperatures) {
    text = co_await attempt(task, temperature, 1, random);
    n_decoded += text.n_decoded;
    if (temperature == 0 && options.beam_size > 1 && doubtful(text, options)) {
      WindowText searched = co_await attempt(task, temperature, options.beam_size, random);
      n_decoded += searched.n_decoded;
      const bool whole = 4 * searched.tokens.size() >= 3 * text.tokens.size() || loops(text.tokens, sound_s_);
      if (whole && searched.mean_logprob > text.mean_logprob) text = std::move(searched);
    }
    const bool unsure = text.mean_logprob < options.min_logprob;
    text.silent = text.no_speech > options.max_no_speech && unsure;
    // Some things are said over and over: a text that came to its end in the time that it takes is one.
    const bool repeats = text.compression > options.max_compression &&
                         (!text.finished || static_cast<double>(text.tokens.size()) > kMostTokensPerSecond * sound_s_);
    if (text.silent || (!repeats && !unsure)) {
      best = std::move(text);
      break;
    }
    // Nothing was good: of what was tried the likeliest that does not run in circles, else the first.
    const bool circles = loops(text.tokens, sound_s_), best_circles = loops(best.tokens, sound_s_);
    if (!any || (best_circles && !circles) ||
        (best_circles == circles && !circles && text.mean_logprob > best.mean_logprob))
      best = std::move(text);
    any = true;
  }
  best.n_decoded = n_decoded;
  co_return best;
}

}  // namespace morph::audio
