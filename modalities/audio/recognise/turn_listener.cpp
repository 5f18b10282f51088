// See turn_listener.h.
#include "recognise/turn_listener.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "recognise/heard_text.h"
#include "recognise/saved_words.h"

namespace morph::audio {
namespace {

constexpr std::size_t kMinSamples = 1600;
constexpr double kSureLanguage = 0.5;

std::vector<std::string> words_in(const std::string& text) {
  std::vector<std::string> found;
  std::string word;
  for (const char c : text) {
    if (c == ' ' && !word.empty()) found.push_back(std::exchange(word, ""));
    word += c;
  }
  if (!word.empty()) found.push_back(word);
  return found;
}

std::size_t agreed_words(const std::vector<std::string>& before, const std::vector<std::string>& now) {
  std::size_t n = 0;
  while (n < before.size() && n < now.size() && core_of(before[n]) == core_of(now[n])) ++n;
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

TurnListener::TurnListener(const RecogniserInfo& info, TurnOptions options)
    : info_(info), options_(std::move(options)), language_(options_.hear.language) {}

void TurnListener::push(std::span<const float> samples, bool speech) {
  samples_.insert(samples_.end(), samples.begin(), samples.end());
  if (speech) n_speech_ += samples.size();
}

double TurnListener::heard_s() const { return static_cast<double>(n_before_ + samples_.size()) / info_.rate_hz; }

bool TurnListener::quiet() const {
  const float limit = static_cast<float>(std::pow(10.0, options_.silence_db / 20.0));
  return std::all_of(samples_.begin(), samples_.end(), [limit](float x) { return std::fabs(x) < limit; });
}

/// Where a turn longer than a window is cut: the quietest tenth of a second of the last quarter.
std::size_t TurnListener::quiet_cut(std::size_t most) const {
  const std::size_t length = static_cast<std::size_t>(info_.rate_hz) / 10;
  double least = INFINITY;
  std::size_t best = most;
  for (std::size_t at = most * 3 / 4; at + length <= most; at += length / 2) {
    double power = 0;
    for (std::size_t i = at; i < at + length; ++i)
      power += static_cast<double>(samples_[i]) * static_cast<double>(samples_[i]);
    if (power < least) {
      least = power;
      best = at + length / 2;
    }
  }
  return best;
}

void TurnListener::begin(RecogniserSession& session, bool careful) {
  const auto most = static_cast<std::size_t>(info_.window_s * info_.rate_hz);
  careful_ = careful;
  hearing_ = samples_.size() > most ? quiet_cut(most) : samples_.size();
  HearOptions hear = options_.hear;
  hear.language = language_;
  hear.context = context_;
  hear.seed += n_before_;
  hear.exact_window = hear.exact_window || whole_;
  if (!careful && samples_.size() <= most) {  // a partial text: soon heard again
    hear.temperatures.resize(1);
    hear.beam_size = 1;
  }
  std::vector<float> sound(samples_.begin(), samples_.begin() + static_cast<std::ptrdiff_t>(hearing_));
  if (sound.size() < kMinSamples || quiet()) sound.clear();
  window_ = session.begin(std::move(sound), hear);
}

bool TurnListener::finish(RecogniserSession& session) {
  Heard heard = window_->take();
  window_.reset();
  ++stats_.n_windows;
  stats_.encode_s += heard.encode_s;
  stats_.decode_s += heard.decode_s;
  stats_.n_tokens += heard.n_tokens;
  const double speech_s = static_cast<double>(n_speech_) / info_.rate_hz;
  const bool wrong = heard.looped || heard.compression > options_.hear.max_compression || heard.unsure;
  const bool more = hearing_ < samples_.size();
  if (!heard.silent && !more && careful_ && !whole_ && !options_.hear.exact_window &&
      (heard.looped || repeats(heard.words) || babbles(heard.words, speech_s))) {
    whole_ = true;
    ++stats_.n_again;
    begin(session, true);
    return false;
  }
  whole_ = false;
  if (language_.empty() && !heard.silent && heard.language_probability >= kSureLanguage) language_ = heard.language;
  if (!heard.silent && !heard.language.empty()) {
    if (language_.empty()) language_probability_ = heard.language_probability;
    if (heard.language_probability < 1.0) language_probability_ = heard.language_probability;
  }
  if (wrong && !careful_ && !more) return true;
  if (!careful_ && !more && (repeats(heard.words) || babbles(heard.words, speech_s))) return true;
  const double offset_s = static_cast<double>(n_before_) / info_.rate_hz;
  if (heard.silent) heard.words.clear();
  for (HeardWord& word : heard.words) {
    word.start_s += offset_s;
    word.end_s += offset_s;
  }
  if (core_of(text_of(heard.words)).empty()) heard.words.clear();  // marks alone are no words
  take(sentences(heard.words, ""), more);
  if (!more) return true;
  context_ = heard.temperature > 0.5 ? std::vector<int>{} : std::move(heard.context);
  drop(hearing_);
  begin(session, careful_);
  return false;
}

void TurnListener::drop(std::size_t n) {
  const double share = samples_.empty() ? 0 : static_cast<double>(n) / static_cast<double>(samples_.size());
  n_speech_ -= static_cast<std::size_t>(share * static_cast<double>(n_speech_));
  samples_.erase(samples_.begin(), samples_.begin() + static_cast<std::ptrdiff_t>(n));
  n_before_ += n;
}

std::size_t TurnListener::first_open_word(const std::vector<std::string>& heard) const {
  // Hearings may split words differently ("every one"): look for the last stable word near its place.
  const std::size_t n = stable_.size();
  if (n == 0) return 0;
  for (const int shift : {0, -1, 1, -2, 2}) {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(n) - 1 + shift;
    if (at >= 0 && at < static_cast<std::ptrdiff_t>(heard.size()) &&
        core_of(heard[static_cast<std::size_t>(at)]) == core_of(stable_.back()))
      return static_cast<std::size_t>(at) + 1;
  }
  return n;
}

void TurnListener::take(std::vector<TextSpan> spans, bool settle_all) {
  const double offset_s = static_cast<double>(n_before_) / info_.rate_hz;
  const std::vector<std::string> before = words_in(joined(settled_, tail_));
  tail_ = std::move(spans);
  const std::vector<std::string> now = words_in(joined(settled_, tail_));
  const std::size_t n_agreed = settle_all ? now.size() : agreed_words(before, now);
  for (std::size_t i = first_open_word(now); i < n_agreed; ++i) stable_.push_back(now[i]);
  stable_bytes_ = 0;
  for (const std::string& word : stable_) stable_bytes_ += word.size();
  if (settle_all) {
    settled_.insert(settled_.end(), tail_.begin(), tail_.end());
    tail_.clear();
    return;
  }
  // Whole sentences that are stable are not heard again; the last span may still grow.
  std::size_t n_words = words_in(joined(settled_, {})).size(), n_settled = 0;
  double cut_s = -1;
  for (std::size_t i = 0; i + 1 < tail_.size(); ++i) {
    n_words += words_in(trimmed(tail_[i].text)).size();
    if (n_words > n_agreed) break;
    const char mark = tail_[i].text.back();
    if (mark != '.' && mark != '?' && mark != '!') continue;
    n_settled = i + 1;
    cut_s = (tail_[i].end_s + tail_[i + 1].start_s) / 2;
  }
  if (n_settled == 0 || cut_s <= offset_s) return;
  settled_.insert(settled_.end(), tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(n_settled));
  tail_.erase(tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(n_settled));
  drop(std::min(samples_.size(), static_cast<std::size_t>((cut_s - offset_s) * info_.rate_hz)));
}

std::string TurnListener::text() const {
  if (stable_.empty()) return joined(settled_, tail_);
  const std::vector<std::string> heard = words_in(joined(settled_, tail_));
  std::string text;
  for (const std::string& word : stable_) text += word;
  for (std::size_t i = first_open_word(heard); i < heard.size(); ++i) text += heard[i];
  return text;
}

std::vector<TextSpan> TurnListener::spans() const {
  std::vector<TextSpan> all = settled_;
  all.insert(all.end(), tail_.begin(), tail_.end());
  return all;
}

void TurnListener::clear() {
  window_.reset();
  n_before_ += samples_.size();
  samples_.clear();
  n_speech_ = 0;
  settled_.clear();
  tail_.clear();
  context_.clear();
  stable_.clear();
  stable_bytes_ = 0;
  whole_ = false;
}

void TurnListener::save(wire::Writer& writer) const {
  writer.boolean(whole_);
  writer.floats(samples_);
  writer.u64(n_before_);
  save_spans(settled_, writer);
  save_spans(tail_, writer);
  save_texts(stable_, writer);
  writer.u64(stable_bytes_);
  writer.integers(context_);
  writer.string(language_);
  writer.f64(language_probability_);
  writer.u64(n_speech_);
}

void TurnListener::restore(wire::Reader& reader) {
  window_.reset();
  whole_ = reader.boolean();
  samples_ = reader.floats();
  n_before_ = static_cast<std::size_t>(reader.u64());
  settled_ = restore_spans(reader);
  tail_ = restore_spans(reader);
  stable_ = restore_texts(reader);
  stable_bytes_ = static_cast<std::size_t>(reader.u64());
  context_ = reader.integers();
  language_ = reader.string();
  language_probability_ = reader.f64();
  n_speech_ = static_cast<std::size_t>(reader.u64());
}

void TurnListener::keep_last(double seconds) {
  const auto keep = static_cast<std::size_t>(seconds * info_.rate_hz);
  if (samples_.size() > keep) drop(samples_.size() - keep);
  n_speech_ = 0;
}

}  // namespace morph::audio
