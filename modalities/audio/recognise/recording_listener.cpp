// See recording_listener.h.
#include "recognise/recording_listener.h"

#include <algorithm>
#include <cmath>

#include "recognise/heard_text.h"
#include "recognise/saved_words.h"

namespace morph::audio {
namespace {

constexpr std::size_t kChunk = 512;          // samples that are judged at once
constexpr double kEarliestCut = 0.33;        // of a window
constexpr double kShortestPause = 0.06;      // seconds; shorter ones are inside words
constexpr double kLongestPause = 0.6;        // longer ones are as good
constexpr double kLaterIsBetter = 0.03;      // seconds of pause that a second of window is worth
constexpr double kHole = 1.6;                // seconds of speech without a word that are heard again
constexpr double kThinSpeech = 3.0;          // seconds of speech in a sentence of
constexpr double kThinRate = 1.4;            // fewer syllables a second, which is heard again
constexpr double kTail = 0.5;                // the same after the last word: a text that ends early
constexpr double kShortestWord = 0.04;       // seconds
constexpr double kMargin = 0.25;             // seconds around a hole that are heard with it
constexpr double kSlack = 0.4;               // around words
constexpr double kSureLanguage = 0.6;        // probability from which a window's own language counts
constexpr double kHoleLogprob = -0.8;        // mean per token that words found in a hole need
constexpr int kMaxDepth = 6, kMaxHoles = 4;  // hearings of what was cut off others
constexpr double kLeastProgress = 0.6;       // seconds
constexpr std::size_t kLoopWords = 2;

}  // namespace

double RecordingListener::Sound::time_of(double window_s) const {
  if (chunks.empty()) return window_s;
  constexpr double kRate = 16000.0;
  const auto at = static_cast<std::size_t>(std::max(0.0, window_s) * kRate);
  auto next = std::upper_bound(chunks.begin(), chunks.end(), at,
                               [](std::size_t sample, const Chunk& chunk) { return sample < chunk.at; });
  if (next != chunks.begin()) --next;
  const double into = std::min(window_s - static_cast<double>(next->at) / kRate, static_cast<double>(next->n) / kRate);
  return next->start_s + std::max(0.0, into);
}

std::size_t RecordingListener::Sound::n_speech() const {
  std::size_t n = 0;
  for (const Chunk& chunk : chunks) n += chunk.speech ? chunk.n : 0;
  return n;
}

RecordingListener::Sound RecordingListener::Sound::cut(std::size_t first_chunk, std::size_t end_chunk) const {
  Sound part;
  if (first_chunk >= end_chunk) return part;
  const std::size_t begin = chunks[first_chunk].at, end = chunks[end_chunk - 1].at + chunks[end_chunk - 1].n;
  part.samples.assign(samples.begin() + static_cast<std::ptrdiff_t>(begin),
                      samples.begin() + static_cast<std::ptrdiff_t>(end));
  for (std::size_t i = first_chunk; i < end_chunk; ++i) {
    part.chunks.push_back(chunks[i]);
    part.chunks.back().at -= begin;
  }
  return part;
}

RecordingListener::RecordingListener(const RecogniserInfo& info, RecordingOptions options)
    : info_(info), options_(std::move(options)) {
  options_.group = options_.previous_text ? 1 : std::max(1, options_.group);
}

RecordingListener::~RecordingListener() = default;

void RecordingListener::push(std::span<const float> samples, double start_s, bool speech) {
  const float limit = static_cast<float>(std::pow(10.0, options_.silence_db / 20.0));
  for (std::size_t at = 0; at < samples.size(); at += kChunk) {
    const auto piece = samples.subspan(at, std::min(kChunk, samples.size() - at));
    const bool loud = std::any_of(piece.begin(), piece.end(), [limit](float x) { return std::fabs(x) >= limit; });
    open_.chunks.push_back(
        {start_s + static_cast<double>(at) / info_.rate_hz, open_.samples.size(), piece.size(), speech && loud});
    open_.samples.insert(open_.samples.end(), piece.begin(), piece.end());
  }
  pushed_to_s_ = start_s + static_cast<double>(samples.size()) / info_.rate_hz;
  close_window(false);
}

void RecordingListener::end() {
  if (ended_) return;
  ended_ = true;
  close_window(true);
}

bool RecordingListener::wants_input() const {
  const auto n = std::count_if(parts_.begin(), parts_.end(), [](const Part& part) { return !part.done; });
  return n < 2 * options_.group;
}

/// Index of the chunk before which the open sound is cut: in the longest pause, rather late than early.
std::size_t RecordingListener::best_cut() const {
  const std::vector<Chunk>& chunks = open_.chunks;
  const auto seconds = [&](const Chunk& chunk) { return static_cast<double>(chunk.n) / info_.rate_hz; };
  std::size_t best = 0, last = 0;
  double best_score = -1;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    if (chunks[i].at + chunks[i].n > window_samples()) break;
    last = i;
  }
  for (std::size_t i = 0; i <= last; ++i) {
    if (chunks[i].speech) continue;
    std::size_t end = i;
    double pause = 0;
    std::size_t widest = i;  // where time was left out is the best place of all
    double gap = 0;
    for (; end <= last && !chunks[end].speech; ++end) {
      pause += seconds(chunks[end]);
      if (end == i) continue;
      const double left_out = chunks[end].start_s - chunks[end - 1].start_s - seconds(chunks[end - 1]);
      if (left_out > gap) {
        gap = left_out;
        widest = end;
      }
    }
    const std::size_t middle = gap > 0.01 ? widest : i + (end - i + 1) / 2;
    pause += gap;
    const double at_s = static_cast<double>(chunks[middle].at) / info_.rate_hz;
    const double score = std::min(pause, kLongestPause) + kLaterIsBetter * at_s;
    if (pause >= kShortestPause && at_s >= kEarliestCut * info_.window_s && score > best_score) {
      best_score = score;
      best = middle;
    }
    i = end;
  }
  if (best > 0) return best;
  // Nobody pauses: the quietest moment of the last quarter.
  double least = INFINITY;
  for (std::size_t i = last * 3 / 4; i <= last; ++i) {
    double power = 0;
    for (std::size_t k = chunks[i].at; k < chunks[i].at + chunks[i].n; ++k)
      power += static_cast<double>(open_.samples[k]) * static_cast<double>(open_.samples[k]);
    power /= static_cast<double>(std::max<std::size_t>(1, chunks[i].n));
    if (power < least) {
      least = power;
      best = i;
    }
  }
  return std::max<std::size_t>(best, 1);
}

void RecordingListener::close_window(bool all) {
  const auto add = [this](Sound sound) {
    if (sound.n_speech() == 0) return;  // not speech
    parts_.emplace_back();
    parts_.back().sound = std::move(sound);
  };
  while (open_.samples.size() > window_samples()) {
    const std::size_t cut = best_cut();
    add(open_.cut(0, cut));
    open_ = open_.cut(cut, open_.chunks.size());
  }
  if (!all) return;
  add(std::move(open_));
  open_ = {};
}

void RecordingListener::begin(Part& part, RecogniserSession& session) {
  HearOptions hear = options_.hear;
  if (!part.language.empty()) hear.language = part.language;
  if (options_.previous_text) hear.context = context_;
  hear.seed += n_begun_++ * 0x9E3779B97F4A7C15ULL;
  part.window = session.begin(part.sound.samples, hear);
}

std::vector<HearingWindow*> RecordingListener::windows(RecogniserSession& session, bool live) {
  std::vector<HearingWindow*> open;
  // The language is known better once one window was heard: the first is heard alone.
  const bool alone = options_.hear.language.empty() && info_.languages.size() > 1 && stats_.n_windows == 0;
  const auto most = static_cast<std::size_t>(alone ? 1 : options_.group);
  // Together from the start, so that what is heard with what does not hang on when it arrives.
  const auto waiting = std::count_if(parts_.begin(), parts_.end(), [](const Part& part) { return !part.done; });
  const bool in_round = std::any_of(parts_.begin(), parts_.end(), [](const Part& part) { return part.in_round; });
  if (!in_round && !ended_ && !live && static_cast<std::size_t>(waiting) < most) return open;
  std::size_t n_begun = 0;
  for (Part& part : parts_) {
    if (part.done || (in_round && !part.in_round) || part.heard) continue;
    if (n_begun == most) break;
    ++n_begun;
    part.in_round = options_.rounds;
    if (!part.window) begin(part, session);
    open.push_back(part.window.get());
  }
  return open;
}

bool RecordingListener::collect() {
  for (auto part = parts_.begin(); part != parts_.end();) {
    const auto next = std::next(part);
    if (!part->done && part->window && part->window->done()) {
      Heard heard = part->window->take();
      part->window.reset();
      if (part->in_round)
        part->heard = std::move(heard);
      else
        evaluate(part, std::move(heard));
    }
    part = next;
  }
  conclude_round();
  const std::size_t before = words_.size();
  settle();
  return words_.size() > before;
}

/// Takes over what the windows of a round gave, in the order of the sound, once the last has given it.
void RecordingListener::conclude_round() {
  if (std::any_of(parts_.begin(), parts_.end(), [](const Part& part) { return part.in_round && !part.heard; })) return;
  for (auto part = parts_.begin(); part != parts_.end();) {
    const auto next = std::next(part);  // what is put in between is of a later round
    if (part->in_round) {
      part->in_round = false;
      Heard heard = std::move(*part->heard);
      part->heard.reset();
      evaluate(part, std::move(heard));
    }
    part = next;
  }
}

bool RecordingListener::language_changed(Part& part, const Heard& heard) {
  if (heard.languages.empty()) return false;
  const double seconds = static_cast<double>(part.sound.n_speech()) / info_.rate_hz;
  const double floor = heard.languages.back().second - 1.0;  // what is not listed is less likely
  std::map<std::string, double> here(heard.languages.begin(), heard.languages.end());
  for (auto& [code, score] : language_scores_) score += seconds * (here.contains(code) ? here[code] : floor);
  for (const auto& [code, score] : here)
    if (!language_scores_.contains(code)) language_scores_[code] = seconds * score + language_seconds_ * floor;
  language_seconds_ += seconds;
  if (heard.language_probability >= kSureLanguage || part.settled_language) return false;
  const auto likeliest = std::max_element(language_scores_.begin(), language_scores_.end(),
                                          [](const auto& x, const auto& y) { return x.second < y.second; });
  if (likeliest->first == heard.language) return false;
  part.language = likeliest->first;  // heard again, in the language of the rest
  part.settled_language = true;
  ++stats_.n_again;
  return true;
}

void RecordingListener::evaluate(Parts::iterator part, Heard heard) {
  ++stats_.n_windows;
  stats_.encode_s += heard.encode_s;
  stats_.decode_s += heard.decode_s;
  stats_.n_tokens += heard.n_tokens;
  if (language_changed(*part, heard)) return;
  part->done = true;
  part->language = heard.language;
  const bool worse = heard.silent || heard.words.size() <= part->otherwise.size() ||
                     heard.mean_logprob < kHoleLogprob || already_said(*part, heard.words);
  if (part->hole && worse) {
    part->words = std::move(part->otherwise);
    return;
  }
  if (heard.silent) return;
  if (heard.unsure) ++stats_.n_unsure;
  for (HeardWord& word : heard.words) {
    word.end_s = std::min(word.end_s, word.start_s + longest_word_s(word.text));
    word.start_s = part->sound.time_of(word.start_s);
    word.end_s = std::max(word.start_s, part->sound.time_of(word.end_s));
  }
  if (heard.temperature > 0.5) context_.clear();
  if (!part->hole) context_.insert(context_.end(), heard.context.begin(), heard.context.end());
  if (context_.size() > 1024) context_.erase(context_.begin(), context_.end() - 512);
  if (heard.looped) {
    context_.clear();
    go_on_after_loop(part, std::move(heard.words));
    return;
  }
  part->words = std::move(heard.words);
  hear_again(part);
}

/// What was said before the text ran in circles is kept; hearing goes on where it did.
void RecordingListener::go_on_after_loop(Parts::iterator part, std::vector<HeardWord> words) {
  const std::vector<Chunk>& chunks = part->sound.chunks;
  const double begin_s = chunks.front().start_s,
               end_s = chunks.back().start_s + static_cast<double>(chunks.back().n) / info_.rate_hz;
  // Words that were said have time of their own; made-up ones are crammed into a moment.
  while (words.size() > 1) {
    const std::size_t n = std::min(words.size(), kLoopWords);
    const double per_word = (words.back().end_s - words[words.size() - n].start_s) / static_cast<double>(n);
    if (per_word >= 0.1 && words.back().end_s - words.back().start_s >= kShortestWord) break;
    words.pop_back();
  }
  // The last may be cut short; it is heard again.
  double from_s = words.empty() ? begin_s : words.back().start_s - 0.02;
  if (!words.empty()) words.pop_back();
  if (!words.empty()) from_s = std::max(from_s, words.back().end_s);
  part->words = std::move(words);
  if (from_s - begin_s < kLeastProgress || part->depth >= kMaxDepth) {
    // No way forward from here: leave this stretch, and go on after the next pause.
    part->words.clear();
    std::size_t next = 0;
    while (next < chunks.size() && (chunks[next].start_s - begin_s < 2.0 || chunks[next].speech)) ++next;
    from_s = next < chunks.size() ? chunks[next].start_s : end_s;
    given_up_.push_back({begin_s, from_s});
  }
  const auto at = std::lower_bound(chunks.begin(), chunks.end(), from_s,
                                   [](const Chunk& chunk, double time) { return chunk.start_s < time; });
  Sound rest = part->sound.cut(static_cast<std::size_t>(at - chunks.begin()), chunks.size());
  if (rest.n_speech() == 0) return;
  ++stats_.n_again;
  const auto added = parts_.emplace(std::next(part));
  added->sound = std::move(rest);
  added->language = part->language;
  added->settled_language = true;
  added->depth = part->depth + 1;
}

/// Speech without words, inside a text or after it.
std::vector<RecordingListener::Stretch> RecordingListener::holes(const Part& part) const {
  const std::vector<Chunk>& chunks = part.sound.chunks;
  std::vector<Stretch> found;
  Stretch open;
  std::size_t word = 0;
  double speech_s = 0, quiet_s = 0;
  const auto close = [&] {
    const bool behind_all = part.words.empty() || chunks[open.first_chunk].start_s > part.words.back().start_s;
    if (speech_s > 0 && speech_s >= (behind_all ? kTail : kHole)) {
      const double begin_s = chunks[open.first_chunk].start_s;
      const auto behind = std::find_if(part.words.begin(), part.words.end(),
                                       [&](const HeardWord& said) { return said.start_s >= begin_s; });
      open.first_word = open.end_word = static_cast<std::size_t>(behind - part.words.begin());
      found.push_back(open);
    }
    speech_s = quiet_s = 0;
  };
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const double length = static_cast<double>(chunks[i].n) / info_.rate_hz;
    const double middle = chunks[i].start_s + length / 2;
    while (word < part.words.size() && part.words[word].end_s + kSlack < middle) ++word;
    if (word < part.words.size() && part.words[word].start_s - kSlack <= middle) {
      close();
      continue;
    }
    if (!chunks[i].speech) {
      if (speech_s > 0 && (quiet_s += length) > 0.6) close();
      continue;
    }
    if (speech_s == 0) open.first_chunk = i;
    open.end_chunk = i + 1;
    speech_s += length;
    quiet_s = 0;
  }
  close();
  return found;
}

/// Sentences with far fewer syllables than anyone says in so much speech: words said over and over tend to be written a
/// few times only.
std::vector<RecordingListener::Stretch> RecordingListener::thin_sentences(const Part& part) const {
  const std::vector<Chunk>& chunks = part.sound.chunks;
  std::vector<Stretch> found;
  std::size_t word = 0, chunk = 0;
  for (const TextSpan& span : sentences(part.words, "")) {
    Stretch stretch;
    stretch.first_word = word;
    stretch.end_word = word += span.words.size();
    const double until_s = word < part.words.size() ? part.words[word].start_s : span.end_s + kSlack;
    while (chunk < chunks.size() && chunks[chunk].start_s + 0.1 < span.start_s) ++chunk;
    stretch.first_chunk = chunk;
    double speech_s = 0;
    for (; chunk < chunks.size() && chunks[chunk].start_s < until_s; ++chunk)
      if (chunks[chunk].speech) speech_s += static_cast<double>(chunks[chunk].n) / info_.rate_hz;
    stretch.end_chunk = chunk;
    const std::span<const HeardWord> words(part.words.data() + stretch.first_word, span.words.size());
    if (speech_s >= kThinSpeech && static_cast<double>(syllables_of(words)) < kThinRate * speech_s)
      found.push_back(stretch);
  }
  return found;
}

void RecordingListener::hear_again(Parts::iterator part) {
  if (part->depth >= kMaxHoles) return;
  std::vector<Stretch> again = thin_sentences(*part);
  for (const Stretch& hole : holes(*part)) {
    const bool inside = std::any_of(again.begin(), again.end(), [&](const Stretch& other) {
      return hole.first_chunk < other.end_chunk && other.first_chunk < hole.end_chunk;
    });
    if (!inside) again.push_back(hole);
  }
  std::sort(again.begin(), again.end(),
            [](const Stretch& a, const Stretch& b) { return a.first_chunk > b.first_chunk; });
  // From the last to the first, so that the words behind each go into a part of their own.
  const std::vector<Chunk>& chunks = part->sound.chunks;
  for (const Stretch& stretch : again) {
    const auto at = [&](std::size_t word) { return part->words.begin() + static_cast<std::ptrdiff_t>(word); };
    // A hole is heard from the end of the word before it to the beginning of the one behind: no sound lies between them
    // that is in neither.
    const auto chunk_at = [&](double time) {
      return static_cast<std::size_t>(
          std::lower_bound(chunks.begin(), chunks.end(), time,
                           [](const Chunk& chunk, double second) { return chunk.start_s < second; }) -
          chunks.begin());
    };
    const std::size_t margin = static_cast<std::size_t>(kMargin * info_.rate_hz) / kChunk;
    const std::size_t hole_begin = std::min(
        stretch.first_chunk, stretch.first_word > 0 ? chunk_at(part->words[stretch.first_word - 1].end_s)
                                                    : stretch.first_chunk - std::min(stretch.first_chunk, margin));
    const std::size_t hole_end = std::max(stretch.end_chunk, stretch.end_word < part->words.size()
                                                                 ? chunk_at(part->words[stretch.end_word].start_s)
                                                                 : std::min(chunks.size(), stretch.end_chunk + margin));
    if (stretch.end_word < part->words.size()) {
      const auto rest = parts_.emplace(std::next(part));
      rest->words.assign(at(stretch.end_word), part->words.end());
      rest->language = part->language;
      rest->done = true;
    }
    const auto added = parts_.emplace(std::next(part));
    added->otherwise.assign(at(stretch.first_word), at(stretch.end_word));
    part->words.resize(stretch.first_word);
    added->sound = stretch.end_word > stretch.first_word
                       ? part->sound.cut(stretch.first_chunk - std::min(stretch.first_chunk, margin), stretch.end_chunk)
                       : part->sound.cut(hole_begin, hole_end);
    added->language = part->language;
    added->settled_language = true;
    added->hole = true;
    added->depth = part->depth + 1;
    ++stats_.n_again;
  }
}

/// The words stand already on either side of the hole: times were wrong, not the text.
bool RecordingListener::already_said(const Part& hole, const std::vector<HeardWord>& words) const {
  std::vector<std::string> found;
  for (const HeardWord& word : words)
    if (std::string core = core_of(word.text); !core.empty()) found.push_back(std::move(core));
  if (found.empty()) return true;
  auto at = parts_.begin();
  while (at != parts_.end() && &*at != &hole) ++at;
  std::vector<std::string> around;
  const auto collect_words = [&](const Part& part) {
    for (const HeardWord& word : part.words)
      if (std::string core = core_of(word.text); !core.empty()) around.push_back(std::move(core));
  };
  if (at != parts_.begin()) collect_words(*std::prev(at));
  if (at != parts_.end() && std::next(at) != parts_.end()) collect_words(*std::next(at));
  return std::search(around.begin(), around.end(), found.begin(), found.end()) != around.end();
}

void RecordingListener::settle() {
  while (!parts_.empty() && parts_.front().done) {
    Part& part = parts_.front();
    if (!part.words.empty()) {
      if (languages_.empty() || languages_.back().language != part.language)
        languages_.push_back({words_.size(), part.language});
      for (HeardWord& word : part.words) {
        if (!words_.empty()) word.start_s = std::max(word.start_s, words_.back().start_s);
        word.end_s = std::max(word.end_s, word.start_s);
        if (!words_.empty())
          words_.back().end_s = std::min(words_.back().end_s, std::max(words_.back().start_s, word.start_s));
        spoken_seconds_[part.language] += word.end_s - word.start_s + 0.01;
        words_.push_back(std::move(word));
      }
    }
    parts_.pop_front();
  }
}

bool RecordingListener::finished() const { return ended_ && parts_.empty(); }

std::string RecordingListener::language() const {
  if (!options_.hear.language.empty()) return options_.hear.language;
  const auto most = std::max_element(spoken_seconds_.begin(), spoken_seconds_.end(),
                                     [](const auto& x, const auto& y) { return x.second < y.second; });
  return most == spoken_seconds_.end() ? std::string() : most->first;
}

double RecordingListener::language_probability() const {
  if (language_seconds_ <= 0) return 0;
  double top = -INFINITY, sum = 0;
  for (const auto& [code, score] : language_scores_) top = std::max(top, score / language_seconds_);
  for (const auto& [code, score] : language_scores_) sum += std::exp(score / language_seconds_ - top);
  const auto own = language_scores_.find(language());
  return own == language_scores_.end() || sum <= 0 ? 0 : std::exp(own->second / language_seconds_ - top) / sum;
}

double RecordingListener::open_from_s() const {
  return open_.chunks.empty() ? pushed_to_s_ : open_.chunks.front().start_s;
}

std::vector<HeardWord> RecordingListener::open_words(std::vector<HeardWord> words) const {
  for (HeardWord& word : words) {
    word.start_s = open_.time_of(word.start_s);
    word.end_s = open_.time_of(word.end_s);
  }
  return words;
}

void RecordingListener::Sound::save(wire::Writer& writer) const {
  writer.floats(samples);
  writer.u64(chunks.size());
  for (const Chunk& chunk : chunks) {
    writer.f64(chunk.start_s);
    writer.u64(chunk.at);
    writer.u64(chunk.n);
    writer.boolean(chunk.speech);
  }
}

RecordingListener::Sound RecordingListener::Sound::restore(wire::Reader& reader) {
  Sound sound;
  sound.samples = reader.floats();
  sound.chunks.resize(reader.count(reader.u64(), 25));
  std::size_t at = 0;
  for (Chunk& chunk : sound.chunks) {
    chunk.start_s = reader.f64();
    chunk.at = static_cast<std::size_t>(reader.u64());
    chunk.n = static_cast<std::size_t>(reader.u64());
    chunk.speech = reader.boolean();
    if (chunk.at != at || chunk.n > sound.samples.size() - at) reader.fail("expected chunks that make up the sound");
    at += chunk.n;
  }
  return sound;
}

void RecordingListener::save(wire::Writer& writer) const {
  open_.save(writer);
  std::uint64_t n_under_way = 0;
  writer.u32(static_cast<std::uint32_t>(parts_.size()));
  for (const Part& part : parts_) {
    n_under_way += part.in_round ? 1 : 0;
    part.sound.save(writer);
    save_words(part.words, writer);
    save_words(part.otherwise, writer);
    writer.string(part.language);
    for (const bool flag : {part.done, part.hole, part.settled_language}) writer.boolean(flag);
    writer.u32(static_cast<std::uint32_t>(part.depth));
  }
  writer.boolean(ended_);
  writer.f64(pushed_to_s_);
  save_words(words_, writer);
  writer.u32(static_cast<std::uint32_t>(languages_.size()));
  for (const LanguageFrom& from : languages_) {
    writer.u64(from.first);
    writer.string(from.language);
  }
  writer.u32(static_cast<std::uint32_t>(given_up_.size()));
  for (const GivenUp& lost : given_up_) {
    writer.f64(lost.start_s);
    writer.f64(lost.end_s);
  }
  writer.integers(context_);
  for (const auto* scores : {&language_scores_, &spoken_seconds_}) {
    writer.u32(static_cast<std::uint32_t>(scores->size()));
    for (const auto& [code, score] : *scores) {
      writer.string(code);
      writer.f64(score);
    }
  }
  writer.f64(language_seconds_);
  writer.u64(n_begun_ - n_under_way);  // they are begun again
  for (const double time : {stats_.encode_s, stats_.decode_s}) writer.f64(time);
  for (const int count : {stats_.n_windows, stats_.n_tokens, stats_.n_again, stats_.n_unsure})
    writer.u32(static_cast<std::uint32_t>(count));
}

void RecordingListener::restore(wire::Reader& reader) {
  open_ = Sound::restore(reader);
  parts_.clear();
  const std::size_t n_parts = reader.count(reader.u32(), 43);
  for (std::size_t i = 0; i < n_parts; ++i) {
    Part& part = parts_.emplace_back();
    part.sound = Sound::restore(reader);
    part.words = restore_words(reader);
    part.otherwise = restore_words(reader);
    part.language = reader.string();
    for (bool* flag : {&part.done, &part.hole, &part.settled_language}) *flag = reader.boolean();
    part.depth = static_cast<int>(reader.u32() & 0xffff);
    if (!part.done && (part.sound.chunks.empty() || part.sound.samples.size() > window_samples()))
      reader.fail("expected a window's sound");
  }
  ended_ = reader.boolean();
  pushed_to_s_ = reader.f64();
  words_ = restore_words(reader);
  languages_.resize(reader.count(reader.u32(), 12));
  for (LanguageFrom& from : languages_) {
    from.first = static_cast<std::size_t>(reader.u64());
    if (from.first > words_.size()) reader.fail("expected a word's place");
    from.language = reader.string();
  }
  given_up_.resize(reader.count(reader.u32(), 16));
  for (GivenUp& lost : given_up_) {
    lost.start_s = reader.f64();
    lost.end_s = reader.f64();
  }
  context_ = reader.integers();
  for (auto* scores : {&language_scores_, &spoken_seconds_}) {
    scores->clear();
    const std::size_t n = reader.count(reader.u32(), 12);
    for (std::size_t i = 0; i < n; ++i) {
      std::string code = reader.string();
      (*scores)[std::move(code)] = reader.f64();
    }
  }
  language_seconds_ = reader.f64();
  n_begun_ = reader.u64();
  for (double* time : {&stats_.encode_s, &stats_.decode_s}) *time = reader.f64();
  for (int* count : {&stats_.n_windows, &stats_.n_tokens, &stats_.n_again, &stats_.n_unsure})
    *count = static_cast<int>(reader.u32());
}

}  // namespace morph::audio
