// Beam search on the small published checkpoint: texts side by side in one cache, and what the search returns.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "morph/error.h"
#include "recognise/beam_search.h"
#include "recognise/whisper_network.h"
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

/// A network that has heard something, and a prompt.
struct Heard {
  std::shared_ptr<const WhisperModel> model = load_small();
  WhisperNetwork network{model, {1, 4, true, false}};
  DecodePort port;
  std::vector<int> prompt{290, 246, 250};

  Heard() {
    for (int slot = 0; slot < network.n_slots(); ++slot) listen(slot, 0.1f);
  }
  void listen(int slot, float pitch) {
    const int n_ctx = model->config.max_source_positions;
    std::vector<float> mel(static_cast<std::size_t>(2 * n_ctx * model->config.num_mel_bins));
    for (std::size_t i = 0; i < mel.size(); ++i) mel[i] = std::sin(pitch * static_cast<float>(i % 977));
    network.encode(slot, mel, n_ctx);
  }
  /// Logits after the prompt and `text`, fed in one go.
  std::vector<float> after(const std::vector<int>& text, int slot = 0) {
    std::vector<int> all = prompt;
    all.insert(all.end(), text.begin(), text.end());
    const auto logits = network.feed(slot, FeedRequest::in_a_row(all, 0));
    return {logits.begin(), logits.end()};
  }
  /// Runs a text to its end on slot 0.
  template <class T>
  T drive(Decoding<T> text) {
    text.start();
    while (!text.done()) port.answer(network.feed(0, port.request()));
    return text.result();
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
  const auto branches = [](std::vector<int> tokens, int position, std::vector<std::vector<int>> rows) {
    FeedRequest request;
    request.n_prefix = 3;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      request.outputs.push_back(static_cast<int>(i));
      request.positions.push_back(position);
      request.rows.push_back(rows[i].back());
    }
    request.tokens = std::move(tokens);
    request.seen = std::move(rows);
    return request;
  };
  heard.network.feed(0, branches({7, 9}, 3, {{5}, {9}}));
  const auto both = heard.network.feed(0, branches({8, 10, 11}, 4, {{5, 3}, {9, 70}, {5, 4}}));
  REQUIRE(both.size() == 3 * n_vocab);
  CHECK(worst_difference(both.first(n_vocab), one) < 1e-4);
  CHECK(worst_difference(both.subspan(n_vocab, n_vocab), other) < 1e-4);
  CHECK(worst_difference(both.last(n_vocab), fork) < 1e-4);
  CHECK(worst_difference(one, fork) > 1e-3);  // or the checks above prove nothing

  for (const int row : {2, heard.network.text_rows()})
    CHECK_THROWS_WITH(heard.network.feed(0, branches({7}, 3, {{row}})), Catch::Contains("expected rows"));
}

TEST_CASE("windows in one run get the logits each would get alone", "[parity]") {
  if (!fs::exists(golden())) return;
  Heard heard;
  for (int slot = 0; slot < 4; ++slot) heard.listen(slot, 0.1f + 0.07f * static_cast<float>(slot));
  const std::vector<std::vector<int>> texts{{7}, {9, 10}, {11, 12, 13}, {14}};
  std::vector<std::vector<float>> alone;
  for (int slot = 0; slot < 4; ++slot) alone.push_back(heard.after(texts[static_cast<std::size_t>(slot)], slot));
  CHECK(worst_difference(alone[0], alone[3]) > 1e-3);
  // Prompts in one run of unequal lengths, then the same texts without the window in slot 1.
  for (const std::vector<int>& slots : {std::vector<int>{0, 1, 2, 3}, std::vector<int>{0, 2, 3}, std::vector<int>{3}}) {
    std::vector<FeedRequest> requests(4);
    std::vector<WhisperNetwork::Feeding> feedings;
    for (const int slot : slots) {
      std::vector<int> all = heard.prompt;
      const auto& text = texts[static_cast<std::size_t>(slot)];
      all.insert(all.end(), text.begin(), text.end());
      requests[static_cast<std::size_t>(slot)] = FeedRequest::in_a_row(all, 0);
      feedings.push_back({slot, &requests[static_cast<std::size_t>(slot)]});
    }
    for (const bool each_alone : {false, true}) {
      std::size_t n = 0;
      heard.network.run(feedings, each_alone, [&](std::size_t i, std::span<const float> logits) {
        CHECK(worst_difference(logits, alone[static_cast<std::size_t>(slots[i])]) < 1e-4);
        ++n;
      });
      CHECK(n == slots.size());
    }
  }
}

TEST_CASE("windows of unequal length in one run hear only their own sound", "[parity]") {
  if (!fs::exists(golden())) return;
  Heard heard;
  const int n_ctx = heard.model->config.max_source_positions / 2;
  std::vector<float> mel(static_cast<std::size_t>(2 * n_ctx * heard.model->config.num_mel_bins), 0.3f);
  heard.network.encode(1, mel, n_ctx);
  const std::vector<float> whole = heard.after({7}, 0), half = heard.after({7}, 1);
  std::vector<int> all = heard.prompt;
  all.push_back(7);
  const FeedRequest request = FeedRequest::in_a_row(all, 0);
  const std::vector<WhisperNetwork::Feeding> both{{0, &request}, {1, &request}};
  heard.network.run(both, false, [&](std::size_t i, std::span<const float> logits) {
    CHECK(worst_difference(logits, i == 0 ? whole : half) < 1e-4);
  });
}

TEST_CASE("beam search: its scores are the model's, and more beams find likelier texts", "[parity]") {
  Heard heard;
  const WhisperTokens tokens(*heard.model);
  const WhisperRules rules(*heard.model, tokens, false, 60);
  const auto search = [&](int n_beams, int max_tokens) {
    BeamSearch beams(heard.port, tokens, rules, heard.network.text_rows());
    return heard.drive(beams.run(3, heard.after({}), n_beams, max_tokens));
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
}

TEST_CASE("numbers that are not finite are an error, not silence", "[parity]") {
  Heard heard;
  const WhisperTokens tokens(*heard.model);
  const int n_ctx = heard.model->config.max_source_positions;
  heard.network.encode(
      0, std::vector<float>(static_cast<std::size_t>(2 * n_ctx * heard.model->config.num_mel_bins), NAN), n_ctx);
  WindowDecoder decoder(*heard.model, tokens, heard.port, heard.network.text_rows());
  DecodeTask task;
  task.options.language = "en";
  task.n_audio = n_ctx;
  CHECK_THROWS_WITH(heard.drive(decoder.decode(task)), Catch::Contains("not finite"));
}

TEST_CASE("texts drawn side by side: the likeliest is kept, and a seed repeats it", "[parity]") {
  if (!fs::exists(golden())) return;
  Heard heard;
  const WhisperTokens tokens(*heard.model);
  const auto draw = [&](int best_of, std::uint64_t seed) {
    WindowDecoder decoder(*heard.model, tokens, heard.port, heard.network.text_rows());
    DecodeTask task;
    task.options.language = "en";
    task.options.temperatures = {0.8};
    task.options.best_of = best_of;
    task.options.seed = seed;
    task.n_audio = heard.model->config.max_source_positions;
    task.max_tokens = 12;
    task.timestamps = false;
    return heard.drive(decoder.decode(task));
  };
  const WindowText once = draw(4, 3), again = draw(4, 3);
  CHECK(once.tokens == again.tokens);
  CHECK(once.probabilities.size() == once.tokens.size());
  double single = 0, several = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    single += draw(1, seed).mean_logprob;
    several += draw(4, seed).mean_logprob;
  }
  CHECK(several > single);
}

}  // namespace
}  // namespace morph::audio
