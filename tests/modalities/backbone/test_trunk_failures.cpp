// What goes wrong in a trunk is named and leaves it usable: memory that runs out while a session grows, exceptions in
// the middle of a decode, hostile model files, saved states, sampler options and texts.
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>

#include "engine/tensor/gguf_bytes.h"
#include "llama/model_file.h"
#include "modalities/backbone/expected_error.h"
#include "modalities/backbone/tiny_trunk.h"
#include "morph/error.h"
#include "morph/trunk.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // sanitizers reserve terabytes of addresses
#else
constexpr bool kSanitized = false;
#endif

namespace morph {
namespace {

using testing::message_of;
using testing::TinyTrunkFile;

std::vector<float> logits_of(TrunkSession& session, Sequence& sequence, std::vector<Token> tokens) {
  DecodeItem item;
  item.sequence = &sequence;
  item.tokens = std::move(tokens);
  session.decode({&item, 1});
  return item.logits;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max<double>(worst, std::abs(a[i] - b[i]));
  return worst;
}

/// Lets the process map only so many more bytes for as long as it lives; none, and fewer than it has now, when
/// negative.
class LittleMemory {
 public:
  explicit LittleMemory(std::int64_t more) {
    std::int64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    getrlimit(RLIMIT_AS, &before_);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(pages * 4096 + more);
    setrlimit(RLIMIT_AS, &limit);
  }
  ~LittleMemory() { setrlimit(RLIMIT_AS, &before_); }
  LittleMemory(const LittleMemory&) = delete;
  LittleMemory& operator=(const LittleMemory&) = delete;

 private:
  rlimit before_{};
};

struct Loaded {
  TinyTrunkFile file;
  std::shared_ptr<const Trunk> trunk = load_trunk({file.path(), "cpu", {}});
  std::vector<Token> one = trunk->tokenise("The quick brown fox jumps over the lazy dog.", false, false);
  SessionOptions options(int n_ctx) const {
    SessionOptions options;
    options.n_ctx = n_ctx;
    options.f32_cache = true;
    return options;
  }
};

TEST_CASE_METHOD(Loaded, "a session that cannot grow keeps what it has", "[unit][trunk]") {
  if (kSanitized) return;
  auto session = trunk->open_session(options(1 << 17));  // 768 bytes a position: 96 MiB a sequence
  auto a = session->open();
  logits_of(*session, *a, one);
  {
    // What is let go cannot be had again.
    const LittleMemory little(-(64 << 20));
    CHECK(message_of([&] { session->open(); }, ErrorCode::resource).find("no memory") != std::string::npos);
  }
  CHECK(a->tokens() == one);
  {
    const LittleMemory little(32 << 20);
    CHECK(message_of([&] { session->open(); }, ErrorCode::resource).find("no memory") != std::string::npos);
    CHECK(message_of([&] { a->fork(); }, ErrorCode::resource).find("no memory") != std::string::npos);
    CHECK(a->tokens() == one);
    CHECK(logits_of(*session, *a, {1}).size() == TinyTrunkFile::kVocab);
  }
  auto b = session->open();
  auto fork = a->fork();
  CHECK(distance(logits_of(*session, *fork, {2}), logits_of(*session, *a, {2})) < 1e-3);
  CHECK(logits_of(*session, *b, one).size() == TinyTrunkFile::kVocab);
}

TEST_CASE_METHOD(Loaded, "whatever is thrown in a decode, the sequences are as before", "[unit][trunk]") {
  SessionOptions cut = options(512);
  cut.n_batch = 8;
  for (const bool taps : {false, true}) {
    cut.taps = taps ? std::vector<int>{2} : std::vector<int>{};  // with and without the graph's callback
    auto session = trunk->open_session(cut);
    auto a = session->open(), b = session->open();
    logits_of(*session, *a, {5, 6, 7});
    const auto fails = [&](const auto& what, int after) {
      int n_asked = 0;
      session->set_abort([&] { return ++n_asked > after && what(); });
      std::vector<DecodeItem> items(2);
      items[0].sequence = a.get();
      items[0].tokens = one;
      items[1].sequence = b.get();
      items[1].tokens = one;
      std::string kind = "nothing";
      try {
        session->decode(items);
      } catch (const std::bad_alloc&) {
        kind = "bad_alloc";
      } catch (const std::runtime_error& error) {
        kind = dynamic_cast<const Error*>(&error) != nullptr ? "Error" : error.what();
      }
      session->set_abort({});
      CHECK(a->tokens() == std::vector<Token>{5, 6, 7});
      CHECK(b->size() == 0);
      return kind;
    };
    CHECK(fails([]() -> bool { throw std::bad_alloc(); }, 0) == "bad_alloc");
    CHECK(fails([]() -> bool { throw std::bad_alloc(); }, 200) == "bad_alloc");
    CHECK(fails([]() -> bool { throw std::runtime_error("odd"); }, 200) == "odd");
    CHECK(fails([] { return true; }, 200) == "Error");
    // The cache holds no trace of it.
    auto fresh_session = trunk->open_session(cut);
    auto fresh = fresh_session->open();
    logits_of(*fresh_session, *fresh, {5, 6, 7});
    CHECK(distance(logits_of(*session, *a, one), logits_of(*fresh_session, *fresh, one)) < 1e-3);
  }
}

TEST_CASE_METHOD(Loaded, "positions must be sane", "[unit][trunk]") {
  auto session = trunk->open_session(options(256));
  auto a = session->open();
  const auto at = [&](std::vector<std::int32_t> positions) {
    DecodeItem item;
    item.sequence = a.get();
    item.tokens = {1, 2};
    item.positions = std::move(positions);
    return message_of([&] { session->decode({&item, 1}); }, ErrorCode::config);
  };
  CHECK(at({-1, 0}).find("never fall") != std::string::npos);
  CHECK(at({3, 2}).find("never fall") != std::string::npos);
  CHECK(at({3, std::numeric_limits<std::int32_t>::max()}).find("up to") != std::string::npos);
  CHECK(a->size() == 0);
}

TEST_CASE_METHOD(Loaded, "changed saved states are refused", "[unit][trunk]") {
  auto session = trunk->open_session(options(256));
  auto a = session->open(), b = session->open();
  logits_of(*session, *a, {1, 2, 3});
  const std::vector<std::byte> saved = a->save();
  const std::size_t head = saved.size() > 48 ? 40 : 0;  // before the tokens, then the positions
  const auto with = [&](std::size_t at, std::int32_t value) {
    std::vector<std::byte> bytes = saved;
    std::memcpy(bytes.data() + at, &value, sizeof value);
    const std::string message = message_of([&] { b->restore(bytes); }, ErrorCode::format);
    CHECK(b->size() == 0);
    return message;
  };
  b->restore(saved);
  CHECK(b->tokens() == std::vector<Token>{1, 2, 3});
  CHECK(with(head, TinyTrunkFile::kVocab).find("vocabulary") != std::string::npos);
  CHECK(with(head + 12, -4).find("never fall") != std::string::npos);
  CHECK(with(head + 20, 7).find("up to position 7") != std::string::npos);
  for (std::size_t at = head + 24; at + 4 <= std::min<std::size_t>(saved.size(), head + 24 + 160); at += 4) {
    std::vector<std::byte> bytes = saved;  // libllama's own head: refused, or harmless
    const std::int32_t value = 0x7fff0001;
    std::memcpy(bytes.data() + at, &value, sizeof value);
    try {
      b->restore(bytes);
    } catch (const Error&) {
      CHECK(b->size() == 0);
    }
    CHECK(logits_of(*session, *b, {1}).size() == TinyTrunkFile::kVocab);
  }
}

TEST_CASE_METHOD(Loaded, "sampler options out of range are named; the edges work", "[unit][trunk]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto refused = [&](const SamplerOptions& options, const char* name) {
    const std::string message = message_of([&] { trunk->make_sampler(options); }, ErrorCode::config);
    CHECK(message.find(name) != std::string::npos);
  };
  for (const float bad : {-1.0f, nan, 1e9f}) refused({.temperature = bad}, "temperature");
  refused({.top_k = -1}, "top_k");
  for (const float bad : {-0.1f, 1.1f, nan}) refused({.top_p = bad}, "top_p");
  for (const float bad : {-0.1f, 1.1f, nan}) refused({.min_p = bad}, "min_p");
  for (const float bad : {0.0f, -2.0f, nan}) refused({.repeat_penalty = bad}, "repeat_penalty");
  refused({.repeat_window = -1}, "repeat_window");

  std::vector<float> logits(TinyTrunkFile::kVocab);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i));
  const auto best = static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  const auto always_best = [&](const SamplerOptions& options) {
    auto sampler = trunk->make_sampler(options);
    for (int i = 0; i < 20; ++i) CHECK(sampler->sample(logits) == best);
  };
  always_best({.temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .min_p = 1.0f});
  always_best({.temperature = 1.0f, .top_k = 0, .top_p = 0.0f, .min_p = 0.0f});
  always_best({.temperature = 1e-6f, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f});
  always_best({.repeat_penalty = 5.0f, .repeat_window = 0});
  auto all = trunk->make_sampler({.temperature = 1.0f, .top_k = 1 << 30, .top_p = 1.0f, .min_p = 0.0f});
  CHECK(all->sample(logits) >= 0);

  // The penalty pushes down likely and unlikely tokens alike, and forgets what left its window.
  auto window = trunk->make_sampler({.repeat_penalty = 100.0f, .repeat_window = 1});
  CHECK(window->sample(logits) == best);
  const Token second = window->sample(logits);
  CHECK(second != best);
  CHECK(window->sample(logits) == best);
  std::vector<float> negative(logits.size(), -3.0f);
  negative[7] = -1.0f;
  auto down = trunk->make_sampler({.repeat_penalty = 4.0f});
  CHECK(down->sample(negative) == 7);
  CHECK(down->sample(negative) != 7);
  down->accept(kNoToken);  // an embedding's place
  CHECK(down->sample(negative) >= 0);

  logits[3] = -std::numeric_limits<float>::infinity();  // a mask is allowed
  CHECK(trunk->make_sampler({.temperature = 1.0f})->sample(logits) != 3);
  logits[3] = std::numeric_limits<float>::infinity();
  message_of([&] { trunk->make_sampler({})->sample(logits); }, ErrorCode::internal);
}

TEST_CASE_METHOD(Loaded, "texts that are not UTF-8 become tokens all the same", "[unit][trunk]") {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text(1, static_cast<char>(byte));
    CHECK_FALSE(trunk->tokenise(text, true, true).empty());
    CHECK_FALSE(trunk->tokenise("a" + text + "b" + text, false, false).empty());
  }
  std::uint32_t random = 1;
  for (int round = 0; round < 50; ++round) {
    std::string text;
    for (int i = 0; i < 100; ++i) text += static_cast<char>((random = random * 1664525u + 1013904223u) >> 24);
    for (const Token token : trunk->tokenise(text, true, false)) {
      CHECK(token >= 0);
      CHECK(token < TinyTrunkFile::kVocab);
    }
  }
  const std::string with_nul("a\0b", 3);
  CHECK(trunk->detokenise(trunk->tokenise(with_nul, false, false)) == with_nul);
  CHECK(trunk->tokenise("", true, false).empty());
  CHECK(trunk->apply_template(std::vector<ChatMessage>{{"user", "\xff\xfe"}}, true).text.find("user") !=
        std::string::npos);
}

TEST_CASE_METHOD(Loaded, "a prompt that cannot fit leaves the conversation as it was", "[unit][trunk]") {
  auto session = trunk->open_session(options(256));
  Conversation chat(trunk, session, {"Be brief.", 64, Conversation::Overflow::drop_oldest});
  for (int i = 0; i < 6; ++i) {
    chat.add({"user", "question"});
    chat.add({"assistant", "an answer"});
  }
  message_of([&] { chat.prompt(std::string(400, 'x')); }, ErrorCode::resource);
  CHECK(chat.messages().size() == 12);
  CHECK(chat.prompt("short").size() + 64 <= 256);
  CHECK(chat.messages().size() < 12);
}

/// The tiny model with one thing changed.
class Changed {
 public:
  explicit Changed(const TinyTrunkFile& good) : bytes_(good.bytes()), path_(good.folder() / "bad.gguf") {}
  Changed& number(const std::string& key, std::uint32_t value) {
    const std::size_t at = bytes_.find(key) + key.size() + 4;
    std::memcpy(bytes_.data() + at, &value, sizeof value);
    return *this;
  }
  Changed& replace(std::string_view from, std::string_view to) {
    const std::size_t at = bytes_.find(from);
    REQUIRE(at != std::string::npos);
    REQUIRE(from.size() == to.size());
    bytes_.replace(at, from.size(), to);
    return *this;
  }
  const std::filesystem::path& write() const {
    std::ofstream(path_, std::ios::binary).write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
    return path_;
  }
  std::string refusal() const {
    write();
    const std::string message = message_of([&] { load_trunk({path_, "cpu", {}}); }, ErrorCode::weights);
    CHECK(message.find("bad.gguf") != std::string::npos);
    return message;
  }

 private:
  std::string bytes_;
  std::filesystem::path path_;
};

TEST_CASE("model files that would end the process are refused", "[unit][trunk]") {
  const TinyTrunkFile good;
  const auto with = [&](const std::string& key, std::uint32_t value) {
    return Changed(good).number(key, value).refusal();
  };
  CHECK_THAT(with("llama.block_count", 0), Catch::Contains("llama.block_count between 1 and 512, found 0"));
  CHECK_THAT(with("llama.block_count", 513), Catch::Contains("found 513"));
  CHECK_THAT(with("llama.block_count", ~0u), Catch::Contains("found 4294967295"));
  CHECK_THAT(with("llama.embedding_length", 1u << 31), Catch::Contains("llama.embedding_length"));
  CHECK_THAT(with("llama.attention.head_count", 1u << 20), Catch::Contains("llama.attention.head_count"));
  CHECK_THAT(with("llama.block_count", 4), Catch::Contains("libllama cannot load"));  // a layer's tensors are missing
  const std::string a("\1\0\0\0\0\0\0\0a", 9), b("\1\0\0\0\0\0\0\0b", 9);
  CHECK_THAT(Changed(good).replace(a + b, a + a).refusal(), Catch::Contains("found token 98 ('a') again"));
  // A vocabulary that the file cannot hold, and keys that say what libllama asserts.
  const std::string tokens = "tokenizer.ggml.tokens";
  std::string header(8, '\0');
  header[0] = 9;
  header[4] = 8;
  CHECK_THAT(Changed(good)
                 .replace(tokens + header + std::string("\x02\1\0\0\0\0\0\0", 8),
                          tokens + header + std::string("\0\0\0\0\0\1\0\0", 8))
                 .refusal(),
             Catch::Contains("elements of string"));
  CHECK_THAT(Changed(good).replace("llama.rope.dimension_count", "llama.nextn_predict_layers").refusal(),
             Catch::Contains("llama.nextn_predict_layers between 0 and 3, found 16"));
}

/// What the checks say of a language model with these keys besides the necessary ones.
std::string verdict(const std::function<void(testing::GgufBytes&)>& add, const std::string& architecture = "llama") {
  testing::GgufBytes made;
  made.key("general.architecture", 8).text(architecture);
  made.key(architecture + ".block_count", 4).put<std::uint32_t>(2);
  made.key(architecture + ".embedding_length", 4).put<std::uint32_t>(64);
  add(made);
  const auto bytes = made.bytes();
  const tensor::GgufContents contents = tensor::parse_gguf(bytes, "f.gguf");
  try {
    backbone::check_loadable(contents.metadata, backbone::read_model_facts(contents.metadata, "f.gguf"), "f.gguf");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::weights);
    return error.what();
  }
  return "accepted";
}

TEST_CASE("what a language model says of itself is checked", "[unit][trunk]") {
  using testing::GgufBytes;
  const auto experts = [](std::uint32_t n, std::uint32_t used, std::uint32_t groups, std::uint32_t groups_used,
                          const std::string& architecture = "llama") {
    return verdict(
        [&](GgufBytes& made) {
          made.key(architecture + ".expert_count", 4).put(n).key(architecture + ".expert_used_count", 4).put(used);
          made.key(architecture + ".expert_group_count", 4).put(groups);
          made.key(architecture + ".expert_group_used_count", 4).put(groups_used);
        },
        architecture);
  };
  CHECK(experts(0, 0, 0, 0) == "accepted");
  CHECK(experts(8, 2, 0, 0) == "accepted");
  CHECK(experts(256, 8, 8, 4) == "accepted");
  CHECK(experts(8, 8, 1, 1) == "accepted");
  CHECK(experts(1, 0, 0, 0, "hunyuan-dense") == "accepted");
  CHECK_THAT(experts(1, 0, 0, 0), Catch::Contains("numbers of experts"));
  CHECK_THAT(experts(8, 9, 0, 0), Catch::Contains("8 experts of which 9"));
  CHECK_THAT(experts(0, 2, 0, 0), Catch::Contains("numbers of experts"));
  CHECK_THAT(experts(8, 2, 8, 2), Catch::Contains("in 8 groups"));
  CHECK_THAT(experts(8, 2, 3, 2), Catch::Contains("in 3 groups"));
  CHECK_THAT(experts(8, 2, 4, 4), Catch::Contains("4 are used"));
  CHECK_THAT(experts(2000, 2, 0, 0), Catch::Contains("found 2000"));
  CHECK(verdict([](GgufBytes& made) { made.key("llama.rope.scaling.type", 8).text("yarn"); }) == "accepted");
  CHECK_THAT(verdict([](GgufBytes& made) { made.key("llama.rope.scaling.type", 8).text("bent"); }),
             Catch::Contains("found 'bent'"));
  const auto heads = [](std::uint64_t n) {
    return verdict([&](GgufBytes& made) {
      made.array("llama.attention.head_count", 5, n);
      for (std::uint64_t i = 0; i < n; ++i) made.put<std::int32_t>(2);
    });
  };
  CHECK(heads(2) == "accepted");
  CHECK_THAT(heads(3), Catch::Contains("at most 2 numbers"));
  CHECK_THAT(heads(0), Catch::Contains("expected whole numbers"));
  const auto vocabulary = [](const std::vector<std::string>& tokens) {
    return verdict([&](GgufBytes& made) {
      made.array("tokenizer.ggml.tokens", 8, tokens.size());
      for (const std::string& token : tokens) made.text(token);
    });
  };
  CHECK(vocabulary({"a", "", "b", "", "[EMPTY_2]"}) == "accepted");
  CHECK_THAT(vocabulary({"a", "b", "a"}), Catch::Contains("token 2 ('a') again"));
  CHECK_THAT(vocabulary({"a", std::string("a\0b", 3)}), Catch::Contains("token 1 ('a') again"));  // read up to the NUL
  CHECK_THAT(vocabulary({"[EMPTY_1]", ""}), Catch::Contains("[EMPTY_1]"));
  CHECK_THAT(verdict([](GgufBytes& made) {
               made.array("tokenizer.ggml.tokens", 0, (1u << 22) + 1);
               for (std::uint32_t i = 0; i <= 1u << 22; ++i) made.put<std::uint8_t>(0);
             }),
             Catch::Contains("at most 4194304 tokens, found 4194305"));
}

TEST_CASE("what a progress report throws ends the loading and comes out of it", "[unit][trunk]") {
  const TinyTrunkFile file;
  int n_reports = 0;
  const auto cancel = [&](double) {
    if (++n_reports == 2) throw Error(ErrorCode::cancelled, "load", "stopped");
  };
  CHECK(message_of(
            [&] {
              load_trunk({file.path(), "cpu", cancel});
            },
            ErrorCode::cancelled)
            .find("stopped") != std::string::npos);
  CHECK(load_trunk({file.path(), "cpu", [](double) {}}) != nullptr);
}

TEST_CASE("chat templates that are broken or refuse are named", "[unit][trunk]") {
  const TinyTrunkFile good;
  const std::vector<ChatMessage> messages = {{"user", "Hi"}};
  const auto with = [&](std::string_view from, std::string_view to) {
    return load_trunk({Changed(good).replace(from, to).write(), "cpu", {}});
  };
  // ChatML is among libllama's built-in formats, so a template of it that does not parse still works.
  const auto builtin = with("{% endfor %}", "{% endfro %}");
  CHECK(builtin->apply_template(messages, true).text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  const auto refusing = with("message['content']", "raise_exception(3)");
  CHECK(message_of([&] { refusing->apply_template(messages, true); }, ErrorCode::weights).find("refuses") !=
        std::string::npos);
  const auto good_trunk = load_trunk({good.path(), "cpu", {}});
  CHECK(good_trunk->apply_template({}, true).text == "<|im_start|>assistant\n");
  CHECK(good_trunk->apply_template(std::vector<ChatMessage>{{"user", ""}}, false).text ==
        "<|im_start|>user\n<|im_end|>\n");
}

TEST_CASE("templates that would take the time, the memory or the stack of the process are refused", "[unit][trunk]") {
  const TinyTrunkFile good;
  const std::vector<ChatMessage> messages = {{"user", "Hi"}};
  const auto refusal = [&](const std::string& source) {
    std::string bytes = good.bytes();
    const std::string key = "tokenizer.chat_template";
    const std::size_t at = bytes.find(key) + key.size() + 4;  // behind the value's type: length and text
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data() + at, sizeof length);
    REQUIRE(source.size() <= length);
    bytes.replace(at + sizeof length, length, source + std::string(length - source.size(), ' '));
    const auto path = good.folder() / "endless.gguf";
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    const auto trunk = load_trunk({path, "cpu", {}});
    const std::string first = message_of([&] { trunk->apply_template(messages, true); }, ErrorCode::weights);
    // Not once only: the next prompt meets the same limits.
    CHECK(message_of([&] { trunk->apply_template(messages, true); }, ErrorCode::weights).find("refuses") !=
          std::string::npos);
    return first;
  };
  using Catch::Contains;
  CHECK_THAT(refusal("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"),
             Contains("refuses"));
  CHECK_THAT(refusal("{% for a in range(1000000000) %}{% endfor %}"), Contains("refuses"));
  CHECK_THAT(
      refusal(
          "{% set ns = namespace(t='x') %}{% for a in range(60) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}"),
      Contains("refuses"));
  CHECK_THAT(refusal("{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}"), Contains("refuses"));
  // What is long for good reason is rendered.
  const auto trunk = load_trunk({good.path(), "cpu", {}});
  std::vector<ChatMessage> many;
  for (int i = 0; i < 2000; ++i) many.push_back({i % 2 == 0 ? "user" : "assistant", std::string(500, 'x')});
  CHECK(trunk->apply_template(many, true).text.size() > 1'000'000);
}

TEST_CASE("numbers that libllama would not survive are refused", "[unit][trunk]") {
  const TinyTrunkFile good;
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const auto refusal = [&](const std::string& key, float value) {
    std::string bytes = good.bytes();
    const std::size_t at = bytes.find(key);
    REQUIRE(at != std::string::npos);
    std::memcpy(bytes.data() + at + key.size() + 4, &value, sizeof value);
    const auto path = good.folder() / "real.gguf";
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return message_of([&] { load_trunk({path, "cpu", {}}); }, ErrorCode::weights);
  };
  const std::string epsilon = "llama.attention.layer_norm_rms_epsilon";
  for (const float value : {nan, -1.0f, inf, -inf, 2.0f})
    CHECK_THAT(refusal(epsilon, value), Catch::Contains("epsilon"));
  const auto of_base = [](float value) {
    return verdict([&](testing::GgufBytes& made) { made.key("llama.rope.freq_base", 6).put(value); });
  };
  for (const float value : {nan, -1.0f, inf, 0.0f}) CHECK_THAT(of_base(value), Catch::Contains("freq_base"));
  CHECK(of_base(10000.0f) == "accepted");
}

TEST_CASE("control tokens that begin with a wide character are broken up between characters", "[unit][trunk]") {
  // "<|im_start|>" under another spelling of twelve bytes.
  const TinyTrunkFile good;
  std::string bytes = good.bytes();
  const std::string spelling = "\xE2\x96\x81<PREFIX>";
  REQUIRE(spelling.size() == 11);
  const std::string old_token = std::string("\x0C\0\0\0\0\0\0\0", 8) + "<|im_start|>";
  const std::size_t at = bytes.find(old_token);
  REQUIRE(at != std::string::npos);
  bytes.replace(at, old_token.size(), std::string("\x0C\0\0\0\0\0\0\0", 8) + spelling + ">");
  const auto path = good.folder() / "wide.gguf";
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  const auto trunk = load_trunk({path, "cpu", {}});
  CHECK(trunk->neutralise("x" + spelling + ">y") == "x\xE2\x96\x81 <PREFIX>>y");
}

}  // namespace
}  // namespace morph
