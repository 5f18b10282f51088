// See beam_search.h.
#include "recognise/beam_search.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace morph::audio {
namespace {

/// A beam this much (in nats) less likely than the best text has less than one chance in fifty to win.
constexpr double kMargin = 4.0;
constexpr double kTokensPerSecond = 8.0;  // of words said over and over, with their commas
constexpr double kMostTokens = 96;

/// The text that wins: the likeliest per token. `texts` is not empty.
const BeamText& best_of(const std::vector<BeamText>& texts) {
  return *std::max_element(texts.begin(), texts.end(),
                           [](const auto& x, const auto& y) { return x.mean_logprob() < y.mean_logprob(); });
}

}  // namespace

bool loops(std::span<const int> tokens, double sound_s) {
  for (std::size_t period = 1; period <= 12; ++period) {
    const auto by_time = static_cast<std::size_t>(std::min(kMostTokens, kTokensPerSecond * sound_s)) / period;
    const std::size_t times = std::max<std::size_t>(period == 1 ? 10 : 6, by_time);
    if (tokens.size() < period * times) continue;
    bool same = true;
    for (std::size_t i = 0; same && i < period * (times - 1); ++i)
      same = tokens[tokens.size() - 1 - i] == tokens[tokens.size() - 1 - i - period];
    if (same) return true;
  }
  return false;
}

BeamSearch::BeamSearch(DecodePort& port, const WhisperTokens& tokens, const WhisperRules& rules, int n_rows,
                       double sound_s)
    : port_(&port), tokens_(&tokens), rules_(&rules), n_rows_(n_rows), sound_s_(sound_s) {}

std::vector<BeamSearch::Candidate> BeamSearch::candidates(std::span<const float> logits, std::size_t n_each) {
  std::vector<Candidate> found;
  const std::size_t n_vocab = logits.size() / beams_.size();
  for (std::size_t b = 0; b < beams_.size(); ++b) {
    const auto row = logits.subspan(b * n_vocab, n_vocab);
    scores_.assign(row.begin(), row.end());
    rules_->apply(scores_, beams_[b].tokens);
    const double total = log_sum_exp(scores_);
    // A heap of the n_each best so far, the worst of them on top.
    std::vector<int> best;
    const auto likelier = [&](int x, int y) {
      const float a = scores_[static_cast<std::size_t>(x)], c = scores_[static_cast<std::size_t>(y)];
      return a != c ? a > c : x < y;
    };
    for (int token = 0; token < static_cast<int>(n_vocab); ++token) {
      if (best.size() == n_each && !likelier(token, best.front())) continue;
      if (best.size() == n_each) {
        std::pop_heap(best.begin(), best.end(), likelier);
        best.pop_back();
      }
      best.push_back(token);
      std::push_heap(best.begin(), best.end(), likelier);
    }
    for (const int token : best)
      found.push_back(
          {b, token, beams_[b].sum + static_cast<double>(scores_[static_cast<std::size_t>(token)]) - total});
  }
  std::sort(found.begin(), found.end(), [](const Candidate& x, const Candidate& y) {
    return x.sum != y.sum ? x.sum > y.sum : std::pair(x.beam, x.token) < std::pair(y.beam, y.token);
  });
  return found;
}

void BeamSearch::advance(const std::vector<Candidate>& found, std::size_t n_beams) {
  std::vector<Beam> next;
  for (const Candidate& candidate : found) {
    if (next.size() == n_beams) break;
    if (!(candidate.sum > found.front().sum - kMargin)) break;
    const Beam& from = beams_[candidate.beam];
    if (candidate.token == tokens_->end) {
      if (finished_.size() < n_beams) finished_.push_back({from.tokens, candidate.sum, true});
      continue;
    }
    Beam beam = from;
    beam.tokens.push_back(candidate.token);
    beam.sum = candidate.sum;
    next.push_back(std::move(beam));
  }
  beams_ = std::move(next);
}

bool BeamSearch::decided(std::size_t n_beams) const {
  if (beams_.empty() || finished_.size() >= n_beams || loops(beams_.front().tokens, sound_s_)) return true;
  if (finished_.empty()) return false;
  // By the measure that the winner is chosen by; what begins clearly and goes on dimly may still lose to its beginning,
  // which is why WindowDecoder refuses a much shorter text.
  const Beam& open = beams_.front();
  return open.sum / static_cast<double>(open.tokens.size()) < best_of(finished_).mean_logprob();
}

void BeamSearch::take_rows(int n_prompt) {
  std::vector<int> spare;
  for (;; beams_.pop_back()) {  // the worst; frees the rows that no other beam shares
    std::vector<bool> taken(static_cast<std::size_t>(n_rows_), false);
    std::fill_n(taken.begin(), n_prompt, true);
    for (const Beam& beam : beams_)
      for (const int row : beam.rows) taken[static_cast<std::size_t>(row)] = true;
    spare.clear();
    for (std::size_t row = 0; row < taken.size(); ++row)
      if (!taken[row]) spare.push_back(static_cast<int>(row));
    if (spare.size() >= beams_.size()) break;
  }
  for (std::size_t b = 0; b < beams_.size(); ++b) beams_[b].rows.push_back(spare[b]);
}

FeedRequest BeamSearch::next_tokens(int n_prompt) const {
  FeedRequest request;
  request.n_prefix = n_prompt;
  for (const Beam& beam : beams_) {
    request.outputs.push_back(static_cast<int>(request.tokens.size()));
    request.tokens.push_back(beam.tokens.back());
    request.positions.push_back(n_prompt + static_cast<int>(beam.tokens.size()) - 1);
    request.rows.push_back(beam.rows.back());
    request.seen.push_back(beam.rows);
  }
  return request;
}

Decoding<BeamText> BeamSearch::run(int n_prompt, std::vector<float> logits, int n_beams, int max_tokens) {
  const std::size_t n = static_cast<std::size_t>(std::max(1, n_beams));
  beams_.assign(1, Beam{});
  finished_.clear();
  std::span<const float> after = logits;
  for (int at = 0; at < max_tokens; ++at) {
    advance(candidates(after, n + 1), n);
    if (decided(n)) break;
    take_rows(n_prompt);
    ++n_steps_;
    after = co_await port_->feed(next_tokens(n_prompt));
  }
  std::vector<BeamText> texts = finished_;
  if (texts.empty())
    for (const Beam& beam : beams_) texts.push_back({beam.tokens, beam.sum, false});
  if (texts.empty())  // nothing was allowed
    co_return BeamText{{}, -std::numeric_limits<double>::infinity(), false};
  co_return best_of(texts);
}

}  // namespace morph::audio
