// See listener.h.
#include "recognise/listener.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <utility>

namespace morph::audio {
namespace {

constexpr int kContextStep = 64;     // shorter windows are encoded in multiples of this many positions (1.28 s)
constexpr int kMinContext = 256;     // in less the model babbles
constexpr double kContextPad = 2.0;  // and with at least this much silence after the audio: less, and it is less sure
constexpr std::size_t kMinSamples = LogMel::kRate / 10;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> found;
  std::string word;
  for (const char c : text) {
    if (c == ' ' && !word.empty()) found.push_back(std::exchange(word, ""));
    word += c;
  }
  if (!word.empty()) found.push_back(word);
  return found;
}

/// A word without what hearings disagree about most: case and punctuation.
std::string core(const std::string& word) {
  std::string kept;
  for (const char c : word)
    if (static_cast<unsigned char>(c) >= 0x80 || std::isalnum(static_cast<unsigned char>(c)) != 0)
      kept += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return kept;
}

std::size_t agreed_words(const std::vector<std::string>& before, const std::vector<std::string>& now) {
  std::size_t n = 0;
  while (n < before.size() && n < now.size() && core(before[n]) == core(now[n])) ++n;
  return n;
}

std::string trimmed(const std::string& text) {
  const std::size_t start = text.find_first_not_of(' ');
  return start == std::string::npos ? "" : text.substr(start);
}

std::string joined(const std::vector<TextSpan>& first, const std::vector<TextSpan>& second) {
  std::string text;
  for (const auto* spans : {&first, &second})
    for (const TextSpan& span : *spans) text += span.text;
  return trimmed(text);
}

}  // namespace

Listener::Listener(std::shared_ptr<const WhisperModel> model, int n_threads, ListenOptions options)
    : model_(std::move(model)),
      options_(std::move(options)),
      tokens_(*model_),
      mel_(model_->config.num_mel_bins, n_threads),
      session_(model_, {n_threads, false, false}),
      decoder_(session_, tokens_, [this] { return cancelled_ && cancelled_(); }) {
  if (options_.language != "auto") {
    tokens_.prompt(options_.language, false, true);  // refuses a language that the model does not know
    language_ = options_.language;
  }
  if (!tokens_.multilingual()) language_ = "en";
}

void Listener::set_cancelled(std::function<bool()> cancelled) {
  cancelled_ = std::move(cancelled);
  session_.set_abort(cancelled_);
}

void Listener::push(std::span<const float> samples) { samples_.insert(samples_.end(), samples.begin(), samples.end()); }

double Listener::heard_s() const { return static_cast<double>(n_before_ + samples_.size()) / LogMel::kRate; }
double Listener::pending_s() const { return static_cast<double>(samples_.size()) / LogMel::kRate; }

bool Listener::quiet(std::span<const float> samples) const {
  const float limit = static_cast<float>(std::pow(10.0, options_.silence_db / 20.0));
  return std::all_of(samples.begin(), samples.end(), [limit](float x) { return std::fabs(x) < limit; });
}

Listener::Heard Listener::hear(std::span<const float> samples, bool fallback, bool more_follows) {
  const double window_s = static_cast<double>(samples.size()) / LogMel::kRate;
  Heard silence;
  silence.next_s = window_s;
  if (samples.size() < kMinSamples || quiet(samples)) return silence;
  int n_ctx = model_->config.max_source_positions;
  if (!options_.exact_window) {
    const int needed = static_cast<int>((window_s + kContextPad) * 50.0);
    n_ctx = std::min(n_ctx, std::max(kMinContext, (needed + kContextStep - 1) / kContextStep * kContextStep));
  }
  auto start = std::chrono::steady_clock::now();
  const std::vector<float> mel = mel_(samples, 2 * n_ctx);
  stats_.mel_s += seconds_since(start);
  start = std::chrono::steady_clock::now();
  session_.encode(mel, n_ctx);
  stats_.encode_s += seconds_since(start);
  start = std::chrono::steady_clock::now();
  if (language_.empty()) language_ = decoder_.detect_language();
  DecodeOptions decode = options_.decode;
  decode.language = language_;
  if (!fallback) {  // a partial text: soon heard again
    decode.temperatures.resize(1);
    decode.beam_size = 1;
  }
  const int n_audio = std::min(n_ctx, static_cast<int>(window_s * 50.0) + 1);
  // Nobody says more than some 8 tokens in a second: less time is lost when the model runs away.
  decode.max_tokens = std::min(decode.max_tokens, 24 + static_cast<int>(window_s * 10.0));
  const WindowText text = decoder_.decode(decode, options_.previous_text ? previous_ : std::vector<int>{}, n_audio,
                                          options_.seed + n_before_);
  stats_.decode_s += seconds_since(start);
  ++stats_.n_windows;
  stats_.n_tokens += text.n_decoded;
  Heard heard = text.silent ? silence : split(text, window_s, more_follows);
  heard.doubtful = text.compression > decode.max_compression || text.mean_logprob < decode.min_logprob;
  return heard;
}

Listener::Heard Listener::split(const WindowText& text, double window_s, bool more_follows) const {
  Heard heard;
  heard.temperature = text.temperature;
  heard.next_s = window_s;
  std::vector<int> open;
  double start = 0, last_end = -1;
  bool closed = true;
  const auto close = [&](double end) {
    TextSpan span;
    span.text = model_->tokens->text(open);
    span.start_s = start;
    span.end_s = std::min(end, window_s);
    span.confidence = static_cast<float>(std::exp(std::min(0.0, text.mean_logprob)));
    if (!core(span.text).empty()) {  // marks alone are no words
      heard.spans.push_back(std::move(span));
      heard.tokens.insert(heard.tokens.end(), open.begin(), open.end());
    }
    open.clear();
  };
  for (const int token : text.tokens) {
    if (!tokens_.is_timestamp(token)) {
      open.push_back(token);
      closed = false;
      continue;
    }
    const double at = tokens_.seconds(token);
    if (!open.empty()) {
      close(at);
      last_end = at;
      closed = true;
    }
    start = at;
  }
  // A last text without an end, or one that ends with two timestamps, was cut by the window: heard again in the next.
  const bool reopened = text.tokens.size() >= 2 && tokens_.is_timestamp(text.tokens.back()) &&
                        tokens_.is_timestamp(text.tokens[text.tokens.size() - 2]);
  if (more_follows && last_end > 0 && (reopened || !closed)) {
    heard.next_s = last_end;
    return heard;
  }
  if (!open.empty()) close(window_s);
  return heard;
}

void Listener::settle(const TextSpan& span, double offset_s) {
  TextSpan moved = span;
  moved.start_s += offset_s;
  moved.end_s += offset_s;
  settled_.push_back(std::move(moved));
}

bool Listener::hear_window(bool last) {
  const std::size_t whole = static_cast<std::size_t>(model_->config.max_source_positions) * 2 * LogMel::kHop;
  if (samples_.empty() || (samples_.size() < whole && !last)) return false;
  const std::size_t n = std::min(whole, samples_.size());
  const bool more = samples_.size() > n || !last;
  const Heard heard = hear(std::span(samples_).first(n), true, more);
  const double offset_s = static_cast<double>(n_before_) / LogMel::kRate;
  for (const TextSpan& span : heard.spans) settle(span, offset_s);
  if (heard.temperature > 0.5) previous_.clear();
  previous_.insert(previous_.end(), heard.tokens.begin(), heard.tokens.end());
  const std::size_t used =
      std::clamp<std::size_t>(static_cast<std::size_t>(heard.next_s * LogMel::kRate), std::min(n, kMinSamples), n);
  samples_.erase(samples_.begin(), samples_.begin() + static_cast<std::ptrdiff_t>(used));
  n_before_ += used;
  stable_bytes_ = text().size();
  return true;
}

std::size_t Listener::first_open_word(const std::vector<std::string>& heard) const {
  // Hearings may split words differently ("every one"): look for the last stable word near its place.
  const std::size_t n = stable_.size();
  if (n == 0) return 0;
  for (const int shift : {0, -1, 1, -2, 2}) {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(n) - 1 + shift;
    if (at >= 0 && at < static_cast<std::ptrdiff_t>(heard.size()) &&
        core(heard[static_cast<std::size_t>(at)]) == core(stable_.back()))
      return static_cast<std::size_t>(at) + 1;
  }
  return n;
}

void Listener::hear_turn(bool careful) {
  const std::size_t whole = static_cast<std::size_t>(model_->config.max_source_positions) * 2 * LogMel::kHop;
  // A turn longer than a window is heard like a file until the rest fits.
  while (samples_.size() > whole) hear_window(false);
  const Heard heard = hear(samples_, careful, false);
  if (heard.doubtful && !careful) return;
  const double offset_s = static_cast<double>(n_before_) / LogMel::kRate;
  const std::vector<std::string> before = words(joined(settled_, tail_));
  tail_.clear();
  for (TextSpan span : heard.spans) {
    span.start_s += offset_s;
    span.end_s += offset_s;
    tail_.push_back(std::move(span));
  }
  const std::vector<std::string> now = words(joined(settled_, tail_));
  const std::size_t n_agreed = agreed_words(before, now);
  for (std::size_t i = first_open_word(now); i < n_agreed; ++i) stable_.push_back(now[i]);
  stable_bytes_ = 0;
  for (const std::string& word : stable_) stable_bytes_ += word.size();

  // Whole sentences that are stable are not heard again; the last span may still grow.
  std::size_t n_words = words(joined(settled_, {})).size(), n_settled = 0;
  double cut_s = -1;
  for (std::size_t i = 0; i + 1 < tail_.size(); ++i) {
    n_words += words(trimmed(tail_[i].text)).size();
    if (n_words > n_agreed) break;
    const char mark = tail_[i].text.back();
    if (mark != '.' && mark != '?' && mark != '!') continue;
    n_settled = i + 1;
    cut_s = tail_[i].end_s;
  }
  if (n_settled == 0 || cut_s <= offset_s) return;
  settled_.insert(settled_.end(), tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(n_settled));
  tail_.erase(tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(n_settled));
  const auto used = std::min(samples_.size(), static_cast<std::size_t>((cut_s - offset_s) * LogMel::kRate));
  samples_.erase(samples_.begin(), samples_.begin() + static_cast<std::ptrdiff_t>(used));
  n_before_ += used;
}

std::string Listener::text() const {
  if (stable_.empty()) return joined(settled_, tail_);
  const std::vector<std::string> heard = words(joined(settled_, tail_));
  std::string text;
  for (const std::string& word : stable_) text += word;
  for (std::size_t i = first_open_word(heard); i < heard.size(); ++i) text += heard[i];
  return text;
}

std::vector<TextSpan> Listener::spans() const {
  std::vector<TextSpan> all = settled_;
  all.insert(all.end(), tail_.begin(), tail_.end());
  return all;
}

void Listener::clear() {
  n_before_ += samples_.size();
  samples_.clear();
  settled_.clear();
  tail_.clear();
  previous_.clear();
  stable_.clear();
  stable_bytes_ = 0;
}

void Listener::keep_last(double seconds) {
  const auto keep = static_cast<std::size_t>(seconds * LogMel::kRate);
  if (samples_.size() <= keep) return;
  n_before_ += samples_.size() - keep;
  samples_.erase(samples_.begin(), samples_.end() - static_cast<std::ptrdiff_t>(keep));
}

}  // namespace morph::audio
