// Token choice: the guard, the repetition penalty and greedy are done on the logits directly; the rest is libllama's
// own sampler chain (top-k, top-p, min-p, temperature, seeded draw), one per sequence.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <limits>
#include <string>
#include <vector>

#include "exec/wire.h"
#include "llama/handles.h"
#include "llama/llama_trunk.h"
#include "morph/error.h"

namespace morph::backbone {
namespace {

void check_options(const SamplerOptions& options) {
  const auto refuse = [](const char* name, const char* expected, double found) {
    throw Error(ErrorCode::config, name, fmt::format("expected {}, found {}", expected, found));
  };
  // Written so that NaN fails.
  if (!(options.temperature >= 0.0f && options.temperature <= 100.0f))
    refuse("temperature", "0 (the most likely token) to 100", options.temperature);
  if (options.top_k < 0) refuse("top_k", "0 (off) or more", options.top_k);
  if (!(options.top_p >= 0.0f && options.top_p <= 1.0f)) refuse("top_p", "0 to 1 (off)", options.top_p);
  if (!(options.min_p >= 0.0f && options.min_p <= 1.0f)) refuse("min_p", "0 (off) to 1", options.min_p);
  if (!(options.repeat_penalty >= 0.1f && options.repeat_penalty <= 100.0f))
    refuse("repeat_penalty", "0.1 to 100 (1: off)", options.repeat_penalty);
  if (options.repeat_window < 0) refuse("repeat_window", "0 (off) or more", options.repeat_window);
}

class LlamaSampler final : public Sampler {
 public:
  LlamaSampler(int n_vocab, const SamplerOptions& options) : n_vocab_(n_vocab), options_(options) {
    check_options(options);
    reset(options.seed);
  }

  void reset(std::uint32_t seed) override {
    options_.seed = seed;
    recent_.clear();
    draws_.clear();
    if (options_.temperature <= 0.0f) return;
    llama_sampler_chain_params params = llama_sampler_chain_default_params();
    params.no_perf = true;
    chain_.reset(llama_sampler_chain_init(params));
    if (options_.top_k > 0) llama_sampler_chain_add(chain_.get(), llama_sampler_init_top_k(options_.top_k));
    if (options_.top_p < 1.0f) llama_sampler_chain_add(chain_.get(), llama_sampler_init_top_p(options_.top_p, 1));
    if (options_.min_p > 0.0f) llama_sampler_chain_add(chain_.get(), llama_sampler_init_min_p(options_.min_p, 1));
    llama_sampler_chain_add(chain_.get(), llama_sampler_init_temp(options_.temperature));
    // libllama takes this one value for "a random seed", which would not be repeatable.
    const std::uint32_t fixed = seed == LLAMA_DEFAULT_SEED ? seed - 1 : seed;
    llama_sampler_chain_add(chain_.get(), llama_sampler_init_dist(fixed));
  }

  std::vector<std::byte> save() const override {
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    writer.u32(options_.seed);
    writer.integers(std::vector<Token>(recent_.begin(), recent_.end()));
    writer.string(draws_);
    return saved;
  }

  void restore(std::span<const std::byte> saved) override {
    wire::Reader reader(saved, "sampler");
    reset(reader.u32());
    const std::vector<Token> recent = reader.integers();
    recent_.assign(recent.begin(), recent.end());
    draws_ = reader.string();
    reader.expect_end();
    if (draws_.empty()) return;
    if (chain_ == nullptr) reader.fail("a sampler that draws no numbers cannot go on with one that does");
    // libllama does not hand out its generator: the draws are made again, among as many candidates as matter to it.
    llama_sampler* draw = llama_sampler_chain_get(chain_.get(), llama_sampler_chain_n(chain_.get()) - 1);
    for (const char alone : draws_) {
      std::array<llama_token_data, 2> candidates{{{0, 0.0f, 0.0f}, {1, 0.0f, 0.0f}}};
      llama_token_data_array list{candidates.data(), alone != 0 ? std::size_t{1} : std::size_t{2}, -1, false};
      llama_sampler_apply(draw, &list);
    }
  }

  void accept(Token token) override {
    recent_.push_back(token);
    while (recent_.size() > static_cast<std::size_t>(options_.repeat_window)) recent_.pop_front();
  }

  Token sample(std::span<const float> logits) override {
    if (logits.size() != static_cast<std::size_t>(n_vocab_))
      throw Error(ErrorCode::internal, "sampler", fmt::format("expected {} logits, found {}", n_vocab_, logits.size()));
    check(logits);
    const bool penalise = options_.repeat_penalty != 1.0f && !recent_.empty();
    if (penalise) {
      penalised_.assign(logits.begin(), logits.end());
      for (auto it = recent_.begin(); it != recent_.end(); ++it) {
        if (*it < 0 || *it >= n_vocab_ || std::find(recent_.begin(), it, *it) != it) continue;
        float& logit = penalised_[static_cast<std::size_t>(*it)];
        logit = logit <= 0.0f ? logit * options_.repeat_penalty : logit / options_.repeat_penalty;
      }
      logits = penalised_;
    }
    const Token token = options_.temperature <= 0.0f
                            ? static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin())
                            : draw(logits);
    accept(token);
    return token;
  }

 private:
  void check(std::span<const float> logits) const {
    bool finite = false;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (std::isnan(logits[i]) || logits[i] == std::numeric_limits<float>::infinity())
        throw Error(
            ErrorCode::internal, "sampler",
            fmt::format("logit {} is not a finite number: the weights are damaged or a product overflowed; verify the "
                        "model, or use F32 caches",
                        i));
      finite = finite || std::isfinite(logits[i]);
    }
    if (!finite)
      throw Error(ErrorCode::internal, "sampler", "no logit is finite: the weights are damaged; verify the model");
  }

  Token draw(std::span<const float> logits) {
    candidates_.resize(logits.size());
    for (std::size_t i = 0; i < logits.size(); ++i) candidates_[i] = {static_cast<llama_token>(i), logits[i], 0.0f};
    llama_token_data_array list{candidates_.data(), candidates_.size(), -1, false};
    llama_sampler_apply(chain_.get(), &list);
    if (list.selected < 0 || static_cast<std::size_t>(list.selected) >= list.size)
      throw Error(ErrorCode::internal, "sampler", "the sampler chain chose no token");
    draws_.push_back(list.size == 1 ? '\1' : '\0');
    const Token token = list.data[list.selected].id;
    llama_sampler_accept(chain_.get(), token);
    return token;
  }

  int n_vocab_;
  SamplerOptions options_;
  SamplerHandle chain_;
  std::deque<Token> recent_;
  std::string draws_;  ///< per draw since reset(): whether there was one candidate only
  std::vector<float> penalised_;
  std::vector<llama_token_data> candidates_;
};

}  // namespace

std::unique_ptr<Sampler> make_llama_sampler(int n_vocab, const SamplerOptions& options) {
  return std::make_unique<LlamaSampler>(n_vocab, options);
}

}  // namespace morph::backbone
