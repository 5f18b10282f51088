// See whisper_session.h.
#include "recognise/whisper_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "morph/error.h"
#include "recognise/beam_search.h"
#include "recognise/word_alignment.h"

namespace morph::audio {
namespace {

constexpr int kContextStep = 64;     // shorter windows are encoded in multiples of this many positions (1.28 s)
constexpr int kMinContext = 256;     // in less the model babbles
constexpr double kContextPad = 2.0;  // and with at least this much silence after the sound: less, and it is less sure
constexpr int kRunsPerStep = 24;     // runs of the decoder in one step
constexpr std::size_t kMinSamples = LogMel::kRate / 10;
constexpr double kPositionSeconds = 0.02;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

/// One window: what is heard, the coroutine of its text, and where it is.
class WhisperWindow final : public HearingWindow {
 public:
  WhisperWindow(WhisperSession& session, std::vector<float> sound, HearOptions wanted)
      : samples(std::move(sound)), options(std::move(wanted)), session_(&session) {
    if (samples.size() < kMinSamples) {
      heard.silent = true;
      heard.language = options.language;
      finished_ = true;
    }
  }
  ~WhisperWindow() override { leave(); }

  bool done() const override { return finished_; }
  Heard take() override { return std::move(heard); }
  double sound_s() const { return static_cast<double>(n_samples) / LogMel::kRate; }

  /// Gives its slot back; any thread.
  void leave() {
    text = Decoding<WindowText>();
    languages = Decoding<LanguageScores>();
    if (slot >= 0) session_->taken_[static_cast<std::size_t>(slot)].store(false, std::memory_order_release);
    slot = -1;
  }
  void finish() {
    leave();
    finished_ = true;
  }

  std::vector<float> samples;
  std::size_t n_samples = 0;
  HearOptions options;
  int slot = -1;
  DecodePort port;
  std::optional<WindowDecoder> decoder;
  DecodeTask task;
  Decoding<LanguageScores> languages;
  Decoding<WindowText> text;
  Heard heard;

 private:
  WhisperSession* session_;
  bool finished_ = false;
};

WhisperSession::WhisperSession(std::shared_ptr<const WhisperModel> model, const RecogniserUse& use)
    : model_(std::move(model)),
      use_(use),
      tokens_(*model_),
      mel_(model_->config.num_mel_bins, use.n_threads),
      taken_(static_cast<std::size_t>(std::max(1, use.max_windows))) {
  use_.max_windows = std::max(1, use.max_windows);
}

WhisperSession::~WhisperSession() = default;

std::size_t WhisperSession::bytes() const { return network_ ? network_->bytes() : 0; }

std::unique_ptr<HearingWindow> WhisperSession::begin(std::vector<float> samples, const HearOptions& options) {
  const auto most = static_cast<std::size_t>(model_->config.max_source_positions) * 2 * LogMel::kHop;
  if (samples.size() > most)
    throw Error(ErrorCode::internal, "hearing/whisper",
                fmt::format("expected at most {} samples in a window, found {}", most, samples.size()));
  auto window = std::make_unique<WhisperWindow>(*this, std::move(samples), options);
  window->n_samples = window->samples.size();
  return window;
}

void WhisperSession::grow(int n) {
  if (network_ && network_->n_slots() >= std::min(n, use_.max_windows)) return;
  for (const std::atomic<bool>& taken : taken_)
    if (taken.load(std::memory_order_acquire)) return;
  int slots = 1;
  while (slots < n && slots < use_.max_windows) slots *= 2;
  network_.reset();  // before the larger one is made
  network_ = std::make_unique<WhisperNetwork>(
      model_, WhisperNetwork::Options{use_.n_threads, std::min(slots, use_.max_windows), false, false});
}

bool WhisperSession::take_slot(WhisperWindow& window) {
  for (int slot = 0; slot < network_->n_slots(); ++slot) {
    if (taken_[static_cast<std::size_t>(slot)].exchange(true, std::memory_order_acquire)) continue;
    window.slot = slot;
    return true;
  }
  return false;
}

void WhisperSession::begin_window(WhisperWindow& window) {
  const auto start = std::chrono::steady_clock::now();
  int n_ctx = model_->config.max_source_positions;
  if (!window.options.exact_window) {
    const int needed = static_cast<int>((window.sound_s() + kContextPad) / kPositionSeconds);
    n_ctx = std::min(n_ctx, std::max(kMinContext, (needed + kContextStep - 1) / kContextStep * kContextStep));
  }
  network_->encode(window.slot, mel_(window.samples, 2 * n_ctx), n_ctx);
  window.samples = {};
  window.decoder.emplace(*model_, tokens_, window.port, network_->text_rows());
  DecodeTask& task = window.task;
  task.options = window.options;
  task.timestamps = window.options.time_tokens;
  if (!window.options.prompt.empty()) {
    if (prompt_ != window.options.prompt) {
      prompt_ = window.options.prompt;
      prompt_tokens_ = model_->tokens->encode(" " + prompt_);
    }
    task.prompt = prompt_tokens_;
  }
  task.n_audio = std::min(n_ctx, static_cast<int>(window.sound_s() / kPositionSeconds) + 1);
  // Nobody says more than some 8 tokens in a second: less time is lost when the model runs away.
  task.max_tokens = std::min(task.max_tokens, 24 + static_cast<int>(window.sound_s() * 10.0));
  window.languages = window.decoder->detect_language();
  if (!window.options.language.empty() || !tokens_.multilingual()) {
    if (!tokens_.multilingual()) task.options.language = "en";
    window.text = window.decoder->decode(task);
    window.text.start();
  } else {
    window.languages.start();
  }
  window.heard.encode_s = seconds_since(start);
}

void WhisperSession::decode_on(std::span<WhisperWindow* const> windows) {
  std::vector<WhisperWindow*> fed;
  const auto start = std::chrono::steady_clock::now();
  for (const bool strict : {false, true}) {
    std::vector<WhisperNetwork::Feeding> feedings;
    const std::size_t first = fed.size();
    for (WhisperWindow* window : windows)
      if (window->slot >= 0 && window->port.waits() && window->options.strict == strict) {
        feedings.push_back({window->slot, &window->port.request()});
        fed.push_back(window);
      }
    if (feedings.empty()) continue;
    network_->run(feedings, strict,
                  [&](std::size_t i, std::span<const float> logits) { fed[first + i]->port.answer(logits); });
  }
  if (fed.empty()) return;
  const double each = seconds_since(start) / static_cast<double>(fed.size());
  for (WhisperWindow* window : fed) {
    window->heard.decode_s += each;
    if (!window->text.begun() && window->languages.done()) {
      const LanguageScores found = window->languages.result();
      window->heard.language_probability = found.probability;
      for (std::size_t i = 0; i < std::min<std::size_t>(found.logprobs.size(), 8); ++i)
        window->heard.languages.push_back(found.logprobs[i]);
      window->task.options.language = found.best;
      window->text = window->decoder->decode(window->task);
      window->text.start();
    }
    if (window->text.done()) finish_window(*window);
  }
}

std::vector<HeardWord> WhisperSession::words_by_timestamps(const WindowText& text, const std::string& language,
                                                           double sound_s, std::vector<std::size_t>& n_tokens) const {
  std::vector<HeardWord> all;
  std::vector<int> open;
  std::vector<float> probabilities;
  double begin = 0;
  const auto close = [&](double end) {
    const std::vector<WordTokens> split = split_words(open, *model_->tokens, language);
    std::size_t n_bytes = 0, before = 0;
    for (const WordTokens& word : split) n_bytes += word.text.size();
    for (const WordTokens& word : split) {
      HeardWord made;
      made.text = word.text;
      const double length = end - begin, total = static_cast<double>(std::max<std::size_t>(1, n_bytes));
      made.start_s = begin + length * static_cast<double>(before) / total;
      before += word.text.size();
      made.end_s = begin + length * static_cast<double>(before) / total;
      float sum = 0;
      for (std::size_t i = 0; i < word.n; ++i) sum += probabilities[word.first + i];
      made.probability = sum / static_cast<float>(std::max<std::size_t>(1, word.n));
      all.push_back(std::move(made));
      n_tokens.push_back(word.n);
    }
    open.clear();
    probabilities.clear();
  };
  for (std::size_t i = 0; i < text.tokens.size(); ++i) {
    if (!tokens_.is_timestamp(text.tokens[i])) {
      open.push_back(text.tokens[i]);
      probabilities.push_back(text.probabilities[i]);
      continue;
    }
    const double at = std::min(tokens_.seconds(text.tokens[i]), sound_s);
    if (!open.empty()) close(std::max(begin, at));
    begin = at;
  }
  if (!open.empty()) close(sound_s);
  return all;
}

std::vector<HeardWord> WhisperSession::words(const WhisperWindow& window, const WindowText& text,
                                             const std::string& language) {
  std::vector<std::size_t> n_tokens;
  std::vector<HeardWord> found = words_by_timestamps(text, language, window.sound_s(), n_tokens);
  if (!window.options.word_times || found.empty()) return found;
  std::vector<int> spoken;
  for (const int token : text.tokens)
    if (!tokens_.is_timestamp(token)) spoken.push_back(token);
  std::vector<int> fed = tokens_.prompt(language, window.options.translating, false);
  const int first = static_cast<int>(fed.size()) - 1;
  const auto room = static_cast<std::size_t>(model_->config.max_target_positions) - fed.size() - 1;
  if (spoken.size() > room) spoken.resize(room);
  fed.insert(fed.end(), spoken.begin(), spoken.end());
  fed.push_back(tokens_.end);
  const std::vector<float> scores = network_->alignment_scores(window.slot, fed);
  const std::vector<int> starts =
      token_starts(scores, network_->n_audio(window.slot), static_cast<int>(fed.size()),
                   static_cast<int>(model_->config.alignment_heads.size()), first, window.task.n_audio);
  std::size_t token = 0;
  for (std::size_t i = 0; i < found.size() && token + n_tokens[i] < starts.size(); ++i) {
    found[i].start_s = kPositionSeconds * starts[token];
    token += n_tokens[i];
    found[i].end_s = std::max(found[i].start_s, kPositionSeconds * starts[token]);
  }
  shorten_stretched(found);
  return found;
}

void WhisperSession::finish_window(WhisperWindow& window) {
  const auto start = std::chrono::steady_clock::now();
  const WindowText text = window.text.result();
  Heard& heard = window.heard;
  heard.language = window.task.options.language;
  heard.mean_logprob = text.mean_logprob;
  heard.no_speech = text.no_speech;
  heard.compression = text.compression;
  heard.temperature = text.temperature;
  heard.n_tokens = text.n_decoded;
  heard.silent = text.silent;
  heard.looped = !text.finished && loops(text.tokens, window.sound_s());
  heard.unsure = text.mean_logprob < window.options.min_logprob;
  if (!heard.silent) {
    heard.words = words(window, text, heard.language);
    heard.context = text.tokens;
  }
  window.finish();
  heard.decode_s += seconds_since(start);
}

void WhisperSession::step(std::span<HearingWindow* const> windows, const std::function<bool()>& stop) {
  std::vector<WhisperWindow*> open;
  for (HearingWindow* window : windows)
    if (!window->done()) open.push_back(static_cast<WhisperWindow*>(window));
  if (open.empty()) return;
  grow(static_cast<int>(open.size()));
  for (WhisperWindow* window : open) {
    if (window->slot >= 0 || !take_slot(*window)) continue;
    begin_window(*window);
    return;  // about as long as the runs below
  }
  for (int i = 0; i < kRunsPerStep; ++i) {
    decode_on(open);
    if (stop && stop()) return;
  }
}

}  // namespace morph::audio
