// See window_decoder.h.
#include "recognise/window_decoder.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>

#include "morph/error.h"
#include "recognise/beam_search.h"

namespace morph::audio {
namespace {

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
bool doubtful(const WindowText& text, const DecodeOptions& options) {
  const bool silent = text.no_speech > options.max_no_speech && text.mean_logprob < options.min_logprob;
  return !silent && text.mean_logprob < options.sure_logprob;
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

WindowDecoder::WindowDecoder(WhisperSession& session, const WhisperTokens& tokens, std::function<bool()> cancelled)
    : session_(&session), tokens_(&tokens), cancelled_(std::move(cancelled)) {}

std::string WindowDecoder::detect_language(double* probability) {
  if (!tokens_->multilingual()) return "en";
  const auto logits = session_->decode_next(tokens_->start, 0);
  std::string best = "en";
  float top = -INFINITY;
  std::vector<float> all;
  for (const auto& [code, id] : tokens_->languages) {
    const float logit = logits[static_cast<std::size_t>(id)];
    all.push_back(logit);
    if (logit > top) {
      top = logit;
      best = code;
    }
  }
  if (probability != nullptr) *probability = std::exp(static_cast<double>(top) - log_sum_exp(all));
  return best;
}

void WindowDecoder::check_cancelled() const {
  if (cancelled_ && cancelled_())
    throw Error(ErrorCode::cancelled, "hearing", "the transcription was stopped on request");
}

void WindowDecoder::sample(WindowText& text, const WhisperRules& rules, std::vector<float> scores, int n_prompt,
                           int limit, std::mt19937_64& random) {
  double sum = 0;
  while (static_cast<int>(text.tokens.size()) < limit) {
    check_cancelled();
    rules.apply(scores, text.tokens);
    const auto [token, logprob] = choose(scores, text.temperature, random);
    sum += logprob;
    ++text.n_decoded;
    if (token == tokens_->end) {
      text.finished = true;
      break;
    }
    text.tokens.push_back(token);
    if (loops(text.tokens)) break;
    const auto next = session_->decode_next(token, n_prompt + static_cast<int>(text.tokens.size()) - 1);
    scores.assign(next.begin(), next.end());
  }
  text.mean_logprob = sum / static_cast<double>(text.tokens.size() + 1);
}

WindowText WindowDecoder::attempt(const DecodeOptions& options, const std::vector<int>& previous, int n_audio,
                                  double temperature, int n_beams, std::mt19937_64& random) {
  const WhisperModel& model = session_->model();
  const int n_ctx = model.config.max_target_positions;
  std::vector<int> prompt;
  if (!previous.empty()) {
    const std::size_t keep = std::min(previous.size(), static_cast<std::size_t>(n_ctx / 2 - 1));
    prompt.push_back(tokens_->previous);
    prompt.insert(prompt.end(), previous.end() - static_cast<std::ptrdiff_t>(keep), previous.end());
  }
  const int start_at = static_cast<int>(prompt.size());
  const std::vector<int> opening = tokens_->prompt(options.language, options.translating, options.timestamps);
  prompt.insert(prompt.end(), opening.begin(), opening.end());

  WindowText text;
  text.temperature = temperature;
  const WhisperRules rules(model, *tokens_, options.timestamps, n_audio);
  const int outputs[2] = {start_at, static_cast<int>(prompt.size()) - 1};
  const auto first = session_->decode(prompt, 0, outputs);
  const std::size_t n_vocab = static_cast<std::size_t>(model.config.vocab_size);
  const auto at_start = first.first(n_vocab);
  text.no_speech =
      std::exp(static_cast<double>(at_start[static_cast<std::size_t>(tokens_->no_speech)]) - log_sum_exp(at_start));
  if (!std::isfinite(text.no_speech))
    throw Error(ErrorCode::weights, model.folder.string(),
                "the recogniser computes numbers that are not finite; its weights are damaged, fetch the model again");
  std::vector<float> scores(first.begin() + static_cast<std::ptrdiff_t>(n_vocab), first.end());
  const int n_prompt = static_cast<int>(prompt.size());
  const int limit = std::min(options.max_tokens, n_ctx - n_prompt - 1);
  if (n_beams <= 1) {
    sample(text, rules, std::move(scores), n_prompt, limit, random);
  } else {
    BeamSearch search(*session_, *tokens_, rules, [this] { check_cancelled(); });
    BeamText best = search.run(n_prompt, scores, n_beams, limit);
    text.mean_logprob = best.mean_logprob();
    text.tokens = std::move(best.tokens);
    text.finished = best.finished;
    text.n_decoded = search.n_steps();
  }
  text.compression = compression_ratio(model.tokens->text(text.tokens));
  return text;
}

WindowText WindowDecoder::decode(const DecodeOptions& options, const std::vector<int>& previous, int n_audio,
                                 std::uint64_t seed) {
  std::mt19937_64 random(seed);
  WindowText text;
  int n_decoded = 0;
  for (const double temperature : options.temperatures) {
    text = attempt(options, previous, n_audio, temperature, 1, random);
    n_decoded += text.n_decoded;
    if (temperature == 0 && options.beam_size > 1 && doubtful(text, options)) {
      WindowText searched = attempt(options, previous, n_audio, temperature, options.beam_size, random);
      n_decoded += searched.n_decoded;
      const bool whole = 4 * searched.tokens.size() >= 3 * text.tokens.size() || loops(text.tokens);
      if (whole && searched.mean_logprob > text.mean_logprob) text = std::move(searched);
    }
    const bool unsure = text.mean_logprob < options.min_logprob;
    text.silent = text.no_speech > options.max_no_speech && unsure;
    if (text.silent || (text.compression <= options.max_compression && !unsure)) break;
  }
  // A loop that no temperature got out of is no text.
  if (text.compression > options.max_compression && loops(text.tokens)) text.silent = true;
  text.n_decoded = n_decoded;
  return text;
}

}  // namespace morph::audio
