// Beam search on the small published checkpoint: texts side by side in one cache, and what the search returns.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "morph/error.h"
#include "recognise/beam_search.h"
#include "recognise/window_decoder.h"
#include "skipped.h"

namespace fs = std::filesystem;

namespace morph::audio {
namespace {

fs::path golden() { return morph::testing::own_golden_set("whisper"); }

/// The checkpoint with a vocabulary: 2 ends, 290 starts, from 251 on timestamps.
std::shared_ptr<const WhisperModel> load_small() {
  const fs::path folder = fs::temp_directory_path() / "morph-test-beams";
  fs::remove_all(folder);
  fs::copy(golden(), folder, fs::copy_options::recursive);
  std::ofstream(folder / "tokenizer.json")
      << R"({"model":{"vocab":{"a":3,"b":4}},"added_tokens":[{"id":2,"content":"<|endoftext|>"},)"
      << R"({"id":290,"content":"<|startoftranscript|>"},{"id":245,"content":"<|translate|>"},)"
      << R"({"id":246,"content":"<|transcribe|>"},{"id":247,"content":"<|startofprev|>"},)"
      << R"({"id":248,"content":"<|nospeech|>"},{"id":250,"content":"<|notimestamps|>"}]})";
  auto model = load_whisper(folder, "cpu", 1, tensor::StoragePolicy::exact());
  fs::remove_all(folder);
  return model;
}

/// A session that has heard something, and a prompt.
struct Heard {
  std::shared_ptr<const WhisperModel> model = load_small();
  WhisperSession session{model, {1, true, false}};
  std::vector<int> prompt{290, 246, 250};

  Heard() {
    const int n_ctx = model->config.max_source_positions;
    std::vector<float> mel(static_cast<std::size_t>(2 * n_ctx * model->config.num_mel_bins));
    for (std::size_t i = 0; i < mel.size(); ++i) mel[i] = std::sin(0.1f * static_cast<float>(i % 977));
    session.encode(mel, n_ctx);
  }
  /// Logits after the prompt and `text`, fed in one go.
  std::vector<float> after(const std::vector<int>& text) {
    std::vector<int> all = prompt;
    all.insert(all.end(), text.begin(), text.end());
    const int last = static_cast<int>(all.size()) - 1;
    const auto logits = session.decode(all, 0, {&last, 1});
    return {logits.begin(), logits.end()};
  }
  /// Log probability of `text` (and of the end) under the rules, token by token.
  double score(const WhisperRules& rules, const BeamText& text, int end) {
    double sum = 0;
    std::vector<int> written, wanted = text.tokens;
    if (text.finished) wanted.push_back(end);
    for (const int token : wanted) {
      std::vector<float> logits = after(written);
      rules.apply(logits, written);
      sum += static_cast<double>(logits[static_cast<std::size_t>(token)]) - log_sum_exp(logits);
      written.push_back(token);
    }
    return sum;
  }
};

double worst_difference(std::span<const float> x, std::span<const float> y) {
  REQUIRE(x.size() == y.size());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::fabs(static_cast<double>(x[i]) - y[i]));
  return worst;
}

TEST_CASE("texts side by side get the logits each would get alone", "[parity]") {
  Heard heard;
  const std::size_t n_vocab = static_cast<std::size_t>(heard.model->config.vocab_size);
  const std::vector<float> one = heard.after({7, 8}), other = heard.after({9, 10}), fork = heard.after({7, 11});
  heard.after({});
  const std::vector<int> row_a{5}, row_b{9}, row_aa{5, 3}, row_bb{9, 70}, row_ac{5, 4};
  heard.session.decode_branches(std::vector<WhisperBranch>{{7, 3, row_a}, {9, 3, row_b}}, 3);
  const auto both =
      heard.session.decode_branches(std::vector<WhisperBranch>{{8, 4, row_aa}, {10, 4, row_bb}, {11, 4, row_ac}}, 3);
  REQUIRE(both.size() == 3 * n_vocab);
  CHECK(worst_difference(both.first(n_vocab), one) < 1e-4);
  CHECK(worst_difference(both.subspan(n_vocab, n_vocab), other) < 1e-4);
  CHECK(worst_difference(both.last(n_vocab), fork) < 1e-4);
  CHECK(worst_difference(one, fork) > 1e-3);  // or the checks above prove nothing

  const std::vector<int> in_prompt{2}, outside{heard.session.cache_rows()};
  for (const std::vector<int>* rows : {&in_prompt, &outside})
    CHECK_THROWS_WITH(heard.session.decode_branches(std::vector<WhisperBranch>{{7, 3, *rows}}, 3),
                      Catch::Contains("expected rows"));
}

TEST_CASE("beam search: its scores are the model's, and more beams find likelier texts", "[parity]") {
  Heard heard;
  const WhisperTokens tokens(*heard.model);
  const WhisperRules rules(*heard.model, tokens, false, 60);
  const auto search = [&](int n_beams, int max_tokens) {
    BeamSearch beams(heard.session, tokens, rules, {});
    return beams.run(3, heard.after({}), n_beams, max_tokens);
  };
  std::vector<int> greedy;
  for (int i = 0; i < 6; ++i) {
    std::vector<float> logits = heard.after(greedy);
    rules.apply(logits, greedy);
    greedy.push_back(static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    if (greedy.back() == tokens.end) break;
  }
  const BeamText single = search(1, 6);
  std::vector<int> found = single.tokens;
  if (single.finished) found.push_back(tokens.end);
  CHECK(found == greedy);
  for (const int n_beams : {1, 4, 300}) {  // 300 are more than the cache has rows for
    const BeamText text = search(n_beams, 6);
    CAPTURE(n_beams, text.tokens);
    CHECK_FALSE(text.tokens.empty());
    CHECK(text.sum_logprob == Approx(heard.score(rules, text, tokens.end)).margin(1e-3));
    if (!text.finished && !single.finished) CHECK(text.sum_logprob >= single.sum_logprob - 1e-3);
  }
  CHECK_FALSE(search(300, 55).tokens.empty());  // long texts side by side leave no row free
  CHECK(search(4, 0).tokens.empty());
  BeamSearch stopped(heard.session, tokens, rules,
                     [] { throw Error(ErrorCode::cancelled, "hearing", "stopped on request"); });
  CHECK_THROWS_WITH(stopped.run(3, heard.after({}), 4, 6), Catch::Contains("stopped"));
}

TEST_CASE("numbers that are not finite are an error, not silence", "[parity]") {
  Heard heard;
  const WhisperTokens tokens(*heard.model);
  const int n_ctx = heard.model->config.max_source_positions;
  heard.session.encode(std::vector<float>(static_cast<std::size_t>(2 * n_ctx * heard.model->config.num_mel_bins), NAN),
                       n_ctx);
  WindowDecoder decoder(heard.session, tokens, {});
  CHECK_THROWS_WITH(decoder.decode({}, {}, n_ctx, 0), Catch::Contains("not finite"));
}

}  // namespace
}  // namespace morph::audio
