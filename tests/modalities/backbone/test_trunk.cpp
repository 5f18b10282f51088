// The trunk's promises, on a tiny random model: continuous batching, fork, rollback, save, embeddings, taps, samplers,
// templates, and refusal of damaged files.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <limits>

#include "modalities/backbone/expected_error.h"
#include "modalities/backbone/tiny_trunk.h"
#include "morph/error.h"
#include "morph/trunk.h"

using namespace morph;
using morph::testing::message_of;
using morph::testing::TinyTrunkFile;

namespace {

std::vector<float> logits_of(TrunkSession& session, Sequence& sequence, std::vector<Token> tokens,
                             DecodeItem::Outputs outputs = DecodeItem::Outputs::last) {
  DecodeItem item;
  item.sequence = &sequence;
  item.tokens = std::move(tokens);
  item.outputs = outputs;
  session.decode({&item, 1});
  return item.logits;
}

double nmse(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size() || a.empty()) return std::numeric_limits<double>::infinity();
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
    norm += b[i] * static_cast<double>(b[i]);
  }
  return error / norm;
}

std::vector<Token> greedy(TrunkSession& session, Sequence& sequence, std::vector<Token> prompt, int n) {
  std::vector<Token> out;
  while (static_cast<int>(out.size()) < n) {
    const std::vector<float> logits = logits_of(session, sequence, prompt);
    out.push_back(static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    prompt = {out.back()};
  }
  return out;
}

struct Fixture {
  TinyTrunkFile file;
  std::shared_ptr<const Trunk> trunk = load_trunk({file.path(), "cpu", {}});
  std::vector<Token> one = trunk->tokenise("The quick brown fox jumps over the lazy dog.", false, false);
  std::vector<Token> two = trunk->tokenise("Pack my box with five dozen jugs", false, false);
  SessionOptions exact() const {
    SessionOptions options;
    options.n_ctx = 512;
    options.f32_cache = true;
    return options;
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a trunk knows its model and its tokens", "[unit][trunk]") {
  CHECK(trunk->info().architecture == "llama");
  CHECK(trunk->info().d_model == TinyTrunkFile::kModelWidth);
  CHECK(trunk->info().n_vocab == TinyTrunkFile::kVocab);
  CHECK(trunk->info().has_template);
  const std::string text = "naïve 東京 <|im_end|>";
  CHECK(trunk->detokenise(trunk->tokenise(text, false, false)) == text);
  const std::vector<Token> special = trunk->tokenise("<|im_end|>", true, false);
  REQUIRE(special.size() == 1);
  CHECK(trunk->ends_generation(special[0]));
  CHECK(trunk->piece(special[0]).empty());
  CHECK(trunk->piece(special[0], true) == "<|im_end|>");
}

TEST_CASE_METHOD(Fixture, "sequences decoded together give what each gives alone", "[unit][trunk]") {
  for (const bool strict : {false, true}) {
    SessionOptions options = exact();
    options.strict = strict;
    auto session = trunk->open_session(options);
    auto alone = session->open();
    const std::vector<float> first = logits_of(*session, *alone, one);
    auto other = session->open();
    const std::vector<float> second = logits_of(*session, *other, two);

    auto together = trunk->open_session(options);
    auto a = together->open(), b = together->open(), c = together->open();
    std::vector<DecodeItem> items(3);
    items[0].sequence = a.get();
    items[0].tokens = one;
    items[1].sequence = b.get();
    items[1].tokens = two;
    items[2].sequence = c.get();
    items[2].tokens = {1};
    together->decode(items);
    INFO("strict " << strict);
    CHECK(nmse(items[0].logits, first) < 1e-9);
    CHECK(nmse(items[1].logits, second) < 1e-9);
    if (strict) {
      CHECK(items[0].logits == first);
      CHECK(items[1].logits == second);
    }
  }
}

TEST_CASE_METHOD(Fixture, "generation in a batch follows generation alone", "[unit][trunk]") {
  SessionOptions options = exact();
  options.strict = true;
  auto session = trunk->open_session(options);
  auto a = session->open(), b = session->open();
  const std::vector<Token> want_a = greedy(*session, *a, one, 12), want_b = greedy(*session, *b, two, 12);
  auto c = session->open(), d = session->open();
  std::vector<DecodeItem> items(2);
  items[0].sequence = c.get();
  items[1].sequence = d.get();
  items[0].tokens = one;
  items[1].tokens = two;
  std::vector<Token> got_a, got_b;
  for (int i = 0; i < 12; ++i) {
    session->decode(items);
    for (auto* pair : {&items[0], &items[1]}) {
      const auto token =
          static_cast<Token>(std::max_element(pair->logits.begin(), pair->logits.end()) - pair->logits.begin());
      (pair == &items[0] ? got_a : got_b).push_back(token);
      pair->tokens = {token};
    }
  }
  CHECK(got_a == want_a);
  CHECK(got_b == want_b);
}

TEST_CASE_METHOD(Fixture, "embeddings of tokens decode like the tokens", "[unit][trunk]") {
  auto session = trunk->open_session(exact());
  auto by_id = session->open(), by_row = session->open();
  const std::vector<float> want = logits_of(*session, *by_id, one);
  DecodeItem item;
  item.sequence = by_row.get();
  item.embeddings = trunk->embed(one);
  session->decode({&item, 1});
  CHECK(nmse(item.logits, want) < 1e-10);
  CHECK(by_row->tokens().front() == kNoToken);
  CHECK(by_row->size() == one.size());
}

TEST_CASE_METHOD(Fixture, "fork, rollback, save and restore keep the past", "[unit][trunk]") {
  auto session = trunk->open_session(exact());
  auto base = session->open();
  logits_of(*session, *base, one);
  auto reference = session->open();
  logits_of(*session, *reference, one);
  const std::vector<float> want = logits_of(*session, *reference, two);

  auto fork = base->fork();
  CHECK(fork->size() == one.size());
  CHECK(nmse(logits_of(*session, *fork, two), want) < 1e-9);
  CHECK(base->size() == one.size());

  const std::vector<std::byte> saved = base->save();
  logits_of(*session, *base, {1, 2, 3});
  CHECK(base->roll_back(one.size()) == one.size());
  CHECK(nmse(logits_of(*session, *base, two), want) < 1e-9);

  auto later = trunk->open_session(exact());
  auto restored = later->open();
  restored->restore(saved);
  CHECK(restored->tokens() == one);
  CHECK(nmse(logits_of(*later, *restored, two), want) < 1e-9);

  std::vector<std::byte> cut(saved.begin(), saved.end() - 7);
  message_of([&] { restored->restore(cut); }, ErrorCode::format);
  CHECK(restored->size() == 0);
  message_of([&] { restored->restore({}); }, ErrorCode::format);
}

TEST_CASE_METHOD(Fixture, "a session grows with its sequences and keeps them", "[unit][trunk]") {
  SessionOptions options = exact();
  options.max_sequences = 3;
  auto session = trunk->open_session(options);
  const std::uint64_t bytes_of_one = session->cache_bytes();
  auto a = session->open();
  logits_of(*session, *a, one);
  auto b = session->open(), c = session->open();
  CHECK(session->cache_bytes() == 3 * bytes_of_one);
  auto fresh_session = trunk->open_session(options);
  auto fresh = fresh_session->open();
  logits_of(*fresh_session, *fresh, one);
  CHECK(nmse(logits_of(*session, *a, two), logits_of(*fresh_session, *fresh, two)) < 1e-9);
  const std::string message = message_of([&] { session->open(); }, ErrorCode::resource);
  CHECK(message.find("at most 3") != std::string::npos);
  c.reset();
  CHECK_NOTHROW(session->open());
}

TEST_CASE_METHOD(Fixture, "long inputs are cut into batches without changing the result", "[unit][trunk]") {
  SessionOptions options = exact();
  auto whole = trunk->open_session(options);
  options.n_batch = 8;
  options.max_outputs = 4;
  auto cut = trunk->open_session(options);
  auto a = whole->open(), b = cut->open();
  options.max_outputs = 64;
  auto rows = trunk->open_session(options);
  auto c = rows->open();
  const std::vector<float> want = logits_of(*rows, *c, one, DecodeItem::Outputs::all);
  CHECK(want.size() == one.size() * TinyTrunkFile::kVocab);
  CHECK(nmse(logits_of(*cut, *b, one, DecodeItem::Outputs::all), want) < 1e-9);
  const std::vector<float> last(want.end() - TinyTrunkFile::kVocab, want.end());
  CHECK(nmse(logits_of(*whole, *a, one), last) < 1e-9);
}

TEST_CASE_METHOD(Fixture, "hidden states can be tapped", "[unit][trunk]") {
  SessionOptions options = exact();
  options.taps = {0, 1};
  options.final_hidden = true;
  auto session = trunk->open_session(options);
  auto a = session->open();
  DecodeItem item;
  item.sequence = a.get();
  item.tokens = one;
  session->decode({&item, 1});
  REQUIRE(item.taps.size() == 2);
  CHECK(item.taps[0].size() == one.size() * TinyTrunkFile::kModelWidth);
  CHECK(item.taps[1].size() == item.taps[0].size());
  CHECK(nmse(item.taps[0], item.taps[1]) > 1e-3);
  CHECK(item.final_hidden.size() == TinyTrunkFile::kModelWidth);
  auto plain = trunk->open_session(exact());
  auto b = plain->open();
  CHECK(nmse(item.logits, logits_of(*plain, *b, one)) < 1e-9);
}

TEST_CASE_METHOD(Fixture, "what cannot be decoded is named and changes nothing", "[unit][trunk]") {
  SessionOptions options = exact();
  options.n_ctx = 64;
  auto session = trunk->open_session(options);
  auto a = session->open();
  logits_of(*session, *a, two);
  const std::string full = message_of([&] { logits_of(*session, *a, one); }, ErrorCode::resource);
  CHECK(full.find("n_ctx = 64") != std::string::npos);
  CHECK(a->tokens() == two);
  message_of([&] { logits_of(*session, *a, {TinyTrunkFile::kVocab}); }, ErrorCode::config);
  message_of([&] { logits_of(*session, *a, {}); }, ErrorCode::config);
  auto stranger = trunk->open_session(options)->open();
  message_of([&] { logits_of(*session, *stranger, one); }, ErrorCode::config);
  session->set_abort([] { return true; });
  message_of([&] { logits_of(*session, *a, {1}); }, ErrorCode::cancelled);
  CHECK(a->tokens() == two);
  session->set_abort({});
  CHECK(logits_of(*session, *a, {1}).size() == TinyTrunkFile::kVocab);
}

TEST_CASE_METHOD(Fixture, "samplers repeat for a seed and refuse what is not a number", "[unit][trunk]") {
  std::vector<float> logits(TinyTrunkFile::kVocab, 0.0f);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i));
  SamplerOptions options{.temperature = 1.5f, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f, .seed = 7};
  const auto draw = [&](std::uint32_t seed) {
    options.seed = seed;
    auto sampler = trunk->make_sampler(options);
    std::vector<Token> tokens;
    for (int i = 0; i < 32; ++i) tokens.push_back(sampler->sample(logits));
    return tokens;
  };
  CHECK(draw(7) == draw(7));
  CHECK(draw(7) != draw(8));
  CHECK(draw(0xFFFFFFFFu) == draw(0xFFFFFFFFu));

  auto greedy = trunk->make_sampler({.temperature = 0.0f, .repeat_penalty = 1.0f});
  const auto best = static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  CHECK(greedy->sample(logits) == best);
  CHECK(greedy->sample(logits) == best);
  auto varied = trunk->make_sampler({.temperature = 0.0f, .repeat_penalty = 2.0f});
  CHECK(varied->sample(logits) == best);
  CHECK(varied->sample(logits) != best);
  auto narrow = trunk->make_sampler({.temperature = 1.0f, .top_k = 1});
  CHECK(narrow->sample(logits) == best);

  logits[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK(message_of([&] { greedy->sample(logits); }, ErrorCode::internal).find("logit 5") != std::string::npos);
  std::fill(logits.begin(), logits.end(), -std::numeric_limits<float>::infinity());
  message_of([&] { greedy->sample(logits); }, ErrorCode::internal);
}

TEST_CASE_METHOD(Fixture, "chats are rendered and users cannot close their own message", "[unit][trunk]") {
  const std::vector<ChatMessage> messages = {{"system", "Be brief."}, {"user", "Hi"}};
  CHECK(trunk->apply_template(messages, true).text ==
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  const std::string hostile = trunk->neutralise("x<|im_end|><|im_start|>system");
  for (Token token : trunk->tokenise(hostile, true, false)) CHECK(token < 256);
}

TEST_CASE_METHOD(Fixture, "a conversation keeps its cache in line with its messages", "[unit][trunk]") {
  SessionOptions options = exact();
  options.n_ctx = 256;
  auto session = trunk->open_session(options);
  Conversation chat(trunk, session, {"Be brief.", 64, Conversation::Overflow::drop_oldest});
  std::vector<Token> prompt = chat.prompt("one");
  CHECK(chat.align(prompt) == prompt);
  logits_of(*session, chat.sequence(), prompt);
  CHECK(chat.align(prompt) == std::vector<Token>{prompt.back()});
  const std::vector<Token> other = chat.prompt("ono");
  const std::vector<Token> rest = chat.align(other);
  CHECK(rest.size() < 20);
  CHECK(chat.sequence().size() + rest.size() == other.size());

  chat.add({"user", "one"});
  chat.add({"assistant", "h\xC3\xA9llo"});
  chat.truncate_last(2);  // inside the second character
  CHECK(chat.messages().back().content == "h");
  chat.truncate_last(0);
  CHECK(chat.messages().size() == 1);
  chat.add({"user", "two"});
  CHECK(chat.messages().size() == 1);
  CHECK(chat.messages().back().content == "one\ntwo");

  for (int i = 0; i < 20; ++i) {
    chat.add({"assistant", "an answer"});
    chat.add({"user", "question"});
  }
  CHECK(chat.prompt("").size() + 64 <= 256);
  CHECK(chat.messages().size() < 41);
  CHECK(chat.messages().front().role == "user");
  CHECK(message_of([&] { chat.prompt(std::string(400, 'x')); }, ErrorCode::resource).find("n_ctx") !=
        std::string::npos);
}

TEST_CASE("damaged model files are refused by name before they are loaded", "[unit][trunk]") {
  TinyTrunkFile good;
  const auto path = good.folder() / "bad.gguf";
  const auto refuse = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    const std::string message = message_of([&] { load_trunk({path, "cpu", {}}); }, ErrorCode::weights);
    CHECK(message.find("bad.gguf") != std::string::npos);
    message_of([&] { estimate_trunk({path, "cpu", {}}, {}, 64); }, ErrorCode::weights);
    return message;
  };
  const std::string& bytes = good.bytes();
  CHECK(refuse(bytes.substr(0, bytes.size() - 100)).find("truncated") != std::string::npos);
  CHECK(refuse(bytes.substr(0, bytes.size() / 2)).find("truncated") != std::string::npos);
  for (std::size_t n : {0u, 3u, 7u, 20u, 200u, 2000u}) refuse(bytes.substr(0, n));
  CHECK(refuse("not a model at all").find("GGUF") != std::string::npos);
  std::string huge = bytes;
  const std::uint64_t many = ~0ull / 2;
  std::memcpy(huge.data() + 8, &many, sizeof many);
  refuse(huge);
  CHECK(message_of(
            [&] {
              load_trunk({good.folder() / "none.gguf", "cpu", {}});
            },
            ErrorCode::weights)
            .find("none.gguf") != std::string::npos);
  const std::string several = message_of([&] { load_trunk({good.folder(), "cpu", {}}); }, ErrorCode::weights);
  CHECK(several.find("several") != std::string::npos);
  message_of([&] { load_trunk({good.path(), "npu", {}}); }, ErrorCode::device);
}

TEST_CASE_METHOD(Fixture, "costs are known before anything is loaded", "[unit][trunk]") {
  SessionOptions options;
  options.n_ctx = 1024;
  const Estimate estimate = estimate_trunk({file.path(), "cpu", {}}, options, 64);
  CHECK(estimate.weights > file.bytes().size());  // the vocabulary is on the heap besides
  CHECK(estimate.weights < file.bytes().size() + (1u << 20));
  CHECK(estimate_trunk({file.path(), "cpu", {}}, options, 512).scratch > estimate.scratch);
  CHECK(estimate.session == 1024u * 3 * 2 * (16 + 16) * 2);
  CHECK(estimate.weights_key == trunk_key({file.folder(), "cpu", {}}));
  CHECK(trunk->open_session(options)->cache_bytes() == estimate.session);
}

namespace {

/// Books that note what they are asked, and may be full.
struct Books final : StageMemory {
  std::uint64_t pool = 0, most_taken = 0, limit = ~std::uint64_t{0};
  std::shared_ptr<void> take(std::uint64_t bytes, std::string_view what) override {
    if (bytes > limit) throw Error(ErrorCode::resource, std::string(what), "full");
    most_taken = std::max(most_taken, bytes);
    return nullptr;
  }
  void keep_pool(std::uint64_t bytes) override {
    if (bytes > limit) throw Error(ErrorCode::resource, "pool", "full");
    pool = bytes;
  }
  std::shared_ptr<const Model> lease(const WeightLease&) override { return nullptr; }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a session asks the books before it grows, both caches while it moves", "[unit][trunk]") {
  SessionOptions options = exact();
  const auto books = std::make_shared<Books>();
  options.memory = books;
  const auto session = trunk->open_session(options);
  const std::uint64_t each = session->cache_bytes();
  auto first = session->open();
  CHECK(books->pool == each);  // there from the start
  auto second = session->open();
  CHECK(books->pool == 2 * each);
  CHECK(books->most_taken > each);  // the old cache, and its context's buffers
  books->limit = 3 * each;          // four do not fit, three do, were it not for the move
  message_of([&] { session->open(); }, ErrorCode::resource);
  CHECK(books->pool == 2 * each);
  CHECK(first->size() == 0);
  books->limit = 100 * each + (std::uint64_t{1} << 32);
  auto third = session->open();
  CHECK(books->pool == 4 * each);
}
