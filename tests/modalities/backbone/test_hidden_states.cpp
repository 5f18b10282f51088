// Hidden states against the parity sets: qwen3's come from libllama's recorded layer inputs, qwen2's from the graph's
// callback. The sets were made with another implementation.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "modalities/backbone/golden_trunk.h"
#include "modalities/backbone/tiny_trunk.h"
#include "morph/error.h"
#include "morph/trunk.h"
#include "skipped.h"

namespace fs = std::filesystem;

namespace morph {
namespace {

double nmse(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size() || a.empty()) return 1e30;
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
    norm += b[i] * static_cast<double>(b[i]);
  }
  return error / norm;
}

SessionOptions exact() {
  SessionOptions options;
  options.n_ctx = 256;
  options.max_outputs = 64;
  options.f32_cache = true;
  return options;
}

TEST_CASE("hidden states, logits and greedy tokens match the parity sets", "[parity][trunk]") {
  for (const char* name : {"qwen3", "qwen2"}) {
    const std::optional<fs::path> set = testing::golden_set(name);
    if (!set) continue;
    const fs::path& golden = *set;
    INFO(name);
    const testing::GoldenTrunkFile file(golden);
    const auto trunk = load_trunk({file.path(), "cpu", {}});
    const auto inputs = tensor::Checkpoint::open(golden / "golden" / "inputs.safetensors");
    const auto outputs = tensor::Checkpoint::open(golden / "golden" / "outputs.safetensors");
    const std::vector<std::int64_t> ids = tensor::to_i64(inputs.at("input_ids"));
    const std::vector<Token> tokens(ids.begin(), ids.end());
    CHECK(nmse(trunk->embed(tokens), tensor::to_f32(outputs.at("hidden.0"))) == 0.0);

    SessionOptions options = exact();
    options.taps = {0};
    options.final_hidden = true;
    auto session = trunk->open_session(options);
    auto sequence = session->open();
    DecodeItem item;
    item.sequence = sequence.get();
    item.tokens = tokens;
    item.outputs = DecodeItem::Outputs::all;
    session->decode({&item, 1});
    CHECK(nmse(item.taps[0], tensor::to_f32(outputs.at("hidden.1"))) < 1e-10);
    CHECK(nmse(item.final_hidden, tensor::to_f32(outputs.at("hidden.2"))) < 1e-10);
    CHECK(nmse(item.logits, tensor::to_f32(outputs.at("logits"))) < 1e-10);

    // Without the callback the taps are the same, and sequences share a batch.
    options.final_hidden = false;
    options.n_batch = 40;
    auto batched = trunk->open_session(options);
    auto a = batched->open(), b = batched->open();
    std::vector<DecodeItem> items(2);
    items[0].sequence = a.get();
    items[0].tokens = {tokens[3], tokens[1]};
    items[1].sequence = b.get();
    items[1].tokens = tokens;
    batched->decode(items);
    CHECK(items[0].taps[0].size() == 2u * static_cast<std::size_t>(trunk->info().d_model));
    CHECK(nmse(items[1].taps[0], tensor::to_f32(outputs.at("hidden.1"))) < 1e-10);

    const std::vector<std::int64_t> greedy = tensor::to_i64(outputs.at("greedy"));
    std::vector<Token> next{
        static_cast<Token>(std::max_element(items[1].logits.begin(), items[1].logits.end()) - items[1].logits.begin())};
    std::vector<std::int64_t> got;
    const bool whole = std::equal(ids.begin(), ids.end(), greedy.begin(),
                                  greedy.begin() + static_cast<std::ptrdiff_t>(std::min(ids.size(), greedy.size())));
    const std::vector<std::int64_t> want(greedy.begin() + (whole ? static_cast<std::ptrdiff_t>(ids.size()) : 0),
                                         greedy.end());
    while (got.size() < want.size()) {
      got.push_back(next.front());
      DecodeItem one;
      one.sequence = b.get();
      one.tokens = next;
      batched->decode({&one, 1});
      next = {static_cast<Token>(std::max_element(one.logits.begin(), one.logits.end()) - one.logits.begin())};
    }
    CHECK(got == want);

    // A file without a tokenizer takes ids, and says so when it is asked for text.
    CHECK_FALSE(trunk->info().has_template);
    CHECK(trunk->piece(5).empty());
    CHECK_FALSE(trunk->ends_generation(5));
    CHECK_THROWS_WITH(trunk->tokenise("text", true, true), Catch::Contains("expected a tokenizer"));
  }
}

TEST_CASE("taps are the same recorded, caught, cut into batches and beside others", "[unit][trunk]") {
  const testing::TinyTrunkFile file;
  const auto trunk = load_trunk({file.path(), "cpu", {}});
  const std::vector<Token> tokens = trunk->tokenise("The quick brown fox jumps over the lazy dog.", false, false);
  const auto taps_of = [&](const SessionOptions& options, std::vector<Token> beside) {
    auto session = trunk->open_session(options);
    auto a = session->open(), b = session->open();
    std::vector<DecodeItem> items(beside.empty() ? 1 : 2);
    items.back().sequence = a.get();
    items.back().tokens = tokens;
    items.back().outputs = DecodeItem::Outputs::all;
    if (!beside.empty()) {
      items[0].sequence = b.get();
      items[0].tokens = std::move(beside);
    }
    session->decode(items);
    return items.back().taps;
  };
  SessionOptions options = exact();
  options.taps = {1, 0, 2, 1};  // the last layer's cannot be recorded, so the graph's callback runs
  const auto with_callback = taps_of(options, {});
  REQUIRE(with_callback.size() == 4);
  CHECK(with_callback[0] == with_callback[3]);
  CHECK(with_callback[2].size() == tokens.size() * testing::TinyTrunkFile::kModelWidth);
  CHECK(nmse(with_callback[2], with_callback[0]) > 1e-3);
  options.taps = {1, 0};
  const auto recorded = taps_of(options, {});
  REQUIRE(recorded.size() == 2);
  CHECK(nmse(recorded[0], with_callback[0]) < 1e-12);
  CHECK(nmse(recorded[1], with_callback[1]) < 1e-12);
  const auto beside = taps_of(options, {1, 2, 3, 4, 5});
  CHECK(nmse(beside[0], recorded[0]) < 1e-9);
  options.n_batch = 7;
  const auto cut = taps_of(options, {1, 2, 3, 4, 5});
  REQUIRE(cut[0].size() == recorded[0].size());
  CHECK(nmse(cut[0], recorded[0]) < 1e-9);
  CHECK(nmse(cut[1], recorded[1]) < 1e-9);
}

}  // namespace
}  // namespace morph
