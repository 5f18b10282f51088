// The limits are libllama's own where it has one (LLAMA_MAX_LAYERS, LLAMA_MAX_EXPERTS), else far beyond any published
// model and small enough that no product of them overflows.
#include "llama/model_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "morph/error.h"

namespace morph::backbone {
namespace {

constexpr std::int64_t kMaxLayers = 512, kMaxExperts = 1024, kMaxWidth = 1 << 20, kMaxPositions = 1 << 30;
constexpr double kMaxReal = 1e12;
constexpr std::int64_t kMaxHeads = 1 << 13, kMaxHeadWidth = 1 << 14, kMaxVocabulary = 1 << 22;

[[noreturn]] void refuse(const std::string& file, const std::string& message) {
  throw Error(ErrorCode::weights, file, message);
}

/// Reads keys of one file; knows their common prefix.
class Keys {
 public:
  Keys(const tensor::GgufMetadata& metadata, std::string file) : metadata_(metadata), file_(std::move(file)) {}

  const tensor::GgufValue* find(const std::string& key) const {
    const auto found = metadata_.find(key);
    return found == metadata_.end() ? nullptr : &found->second;
  }
  /// A whole number within the limits; `otherwise` when the key is absent.
  std::int64_t number(const std::string& key, std::int64_t least, std::int64_t most, std::int64_t otherwise) const {
    const std::vector<std::int64_t> found = numbers(key, least, most, 1);
    return found.empty() ? otherwise : found.front();
  }
  std::int64_t required(const std::string& key, std::int64_t least, std::int64_t most) const {
    if (find(key) == nullptr) refuse(file_, fmt::format("expected the key {}, found none", key));
    return number(key, least, most, 0);
  }
  /// One whole number, or an array of at most `n_most`, each within the limits; empty when the key is absent.
  std::vector<std::int64_t> numbers(const std::string& key, std::int64_t least, std::int64_t most,
                                    std::int64_t n_most) const {
    const tensor::GgufValue* value = find(key);
    if (value == nullptr) return {};
    if (value->size() > static_cast<std::uint64_t>(n_most))
      refuse(file_, fmt::format("expected at most {} numbers in {}, found {}", n_most, key, value->size()));
    const auto found = value->integers();
    if (!found || found->empty())
      refuse(file_, fmt::format("expected whole numbers in {}, found {} {}", key, to_string(value->type()),
                                to_string(value->element_type())));
    for (const std::int64_t number : *found)
      if (number < least || number > most)
        refuse(file_, fmt::format("expected {} between {} and {}, found {}", key, least, most, number));
    return *found;
  }
  const std::string& file() const { return file_; }

 private:
  const tensor::GgufMetadata& metadata_;
  std::string file_;
};

/// libllama asserts all of this.
void check_experts(const Keys& keys, const std::string& a, const ModelFacts& facts) {
  const std::int64_t n = keys.number(a + "expert_count", 0, kMaxExperts, 0);
  const std::vector<std::int64_t> used = keys.numbers(a + "expert_used_count", 0, kMaxExperts, facts.n_layer);
  const std::int64_t n_used = used.empty() ? 0 : *std::max_element(used.begin(), used.end());
  const std::int64_t groups = keys.number(a + "expert_group_count", 0, kMaxExperts, 0);
  const std::int64_t groups_used = keys.number(a + "expert_group_used_count", 0, kMaxExperts, 0);
  if (n <= 1 && facts.architecture.starts_with("hunyuan")) return;  // dense ones say 1
  const bool none = n == 0 && n_used == 0 && groups == 0;
  const bool grouped = groups <= 1 || (n % groups == 0 && groups_used > 0 && groups_used < groups);
  if (none || (n > 0 && n_used > 0 && n_used <= n && groups < n && grouped)) return;
  refuse(keys.file(), fmt::format("expected numbers of experts that fit each other, found {} experts of which {} are "
                                  "used, in {} groups of which {} are used",
                                  n, n_used, groups, groups_used));
}

/// Numbers of the architecture: ggml asserts that an epsilon is not negative, and what is no number makes every answer
/// noise. Keys of the tokenizer (scores) are none of them.
void check_reals(const tensor::GgufMetadata& metadata, const std::string& prefix, const std::string& file) {
  for (auto at = metadata.lower_bound(prefix); at != metadata.end() && at->first.starts_with(prefix); ++at) {
    const auto& [key, value] = *at;
    const tensor::GgufType type = value.element_type();
    if (type != tensor::GgufType::f32 && type != tensor::GgufType::f64) continue;
    const bool is_epsilon = key.ends_with("epsilon");
    const bool is_positive = key.ends_with("freq_base") || key.ends_with("freq_base_swa");
    for (const double number : value.numbers().value_or(std::vector<double>{})) {
      if (std::isfinite(number) && std::abs(number) <= kMaxReal && (!is_epsilon || (number >= 0 && number < 1)) &&
          (!is_positive || number > 0))
        continue;
      refuse(file, fmt::format("expected {} in {}, found {}; the file is damaged: fetch it again",
                               is_epsilon    ? "a number from 0 to 1"
                               : is_positive ? "a number above 0"
                                             : "numbers of sane size",
                               tensor::shown_name(key), number));
    }
  }
}

void check_vocabulary(const Keys& keys) {
  const tensor::GgufValue* value = keys.find("tokenizer.ggml.tokens");
  const auto tokens = value == nullptr ? std::nullopt : value->texts();
  if (!tokens) return;
  std::unordered_set<std::string_view> seen;
  seen.reserve(tokens->size());
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    const std::string_view text = (*tokens)[i].substr(0, (*tokens)[i].find('\0'));  // libllama stops there
    if (text.empty()) continue;
    if (!seen.insert(text).second)
      refuse(keys.file(), fmt::format("expected each token once in tokenizer.ggml.tokens, found token {} ('{}') again",
                                      i, tensor::shown_name(text)));
  }
  for (std::size_t i = 0; i < tokens->size(); ++i)  // libllama's name for an empty one
    if (((*tokens)[i].empty() || (*tokens)[i].front() == '\0') && seen.count(fmt::format("[EMPTY_{}]", i)) != 0)
      refuse(keys.file(), fmt::format("expected no token called [EMPTY_{0}] beside the empty token {0}", i));
}

}  // namespace

ModelFacts read_model_facts(const tensor::GgufMetadata& metadata, const std::string& name) {
  const Keys keys(metadata, name);
  const tensor::GgufValue* architecture = keys.find("general.architecture");
  if (architecture == nullptr || !architecture->text())
    refuse(name, "expected the key general.architecture, found none: not a language model");
  ModelFacts facts;
  facts.architecture = *architecture->text();
  const std::string a = facts.architecture + ".";
  facts.n_layer = static_cast<int>(keys.required(a + "block_count", 1, kMaxLayers));
  facts.d_model = static_cast<int>(keys.required(a + "embedding_length", 1, kMaxWidth));
  facts.n_ctx_train = static_cast<int>(keys.number(a + "context_length", 0, kMaxPositions, 0));
  const std::vector<std::int64_t> heads = keys.numbers(a + "attention.head_count", 0, kMaxHeads, facts.n_layer);
  std::vector<std::int64_t> kv = keys.numbers(a + "attention.head_count_kv", 0, kMaxHeads, facts.n_layer);
  if (kv.empty()) kv = heads;
  const auto largest = [&](const std::string& key, std::int64_t most) {
    const std::vector<std::int64_t> found = keys.numbers(a + key, 0, most, facts.n_layer);
    return found.empty() ? 0 : static_cast<int>(*std::max_element(found.begin(), found.end()));
  };
  facts.n_head = heads.empty() ? 0 : static_cast<int>(*std::max_element(heads.begin(), heads.end()));
  facts.d_ff = std::max(largest("feed_forward_length", kMaxWidth),
                        largest("expert_feed_forward_length", kMaxWidth) * largest("expert_used_count", kMaxExperts));
  if (const tensor::GgufValue* merges = keys.find("tokenizer.ggml.merges"))
    facts.n_merges = static_cast<int>(std::min<std::uint64_t>(merges->size(), kMaxVocabulary));
  for (int layer = 0; layer < facts.n_layer && !kv.empty(); ++layer)
    facts.n_head_kv.push_back(static_cast<int>(kv[std::min<std::size_t>(layer, kv.size() - 1)]));
  const std::int64_t n_head = heads.empty() ? 0 : *std::max_element(heads.begin(), heads.end());
  const std::int64_t d_head = n_head > 0 ? std::min<std::int64_t>(facts.d_model / n_head, kMaxHeadWidth) : 0;
  facts.d_head_k = static_cast<int>(keys.number(a + "attention.key_length", 0, kMaxHeadWidth, d_head));
  facts.d_head_v = static_cast<int>(keys.number(a + "attention.value_length", 0, kMaxHeadWidth, d_head));
  const tensor::GgufValue* tokens = keys.find("tokenizer.ggml.tokens");
  if (tokens != nullptr && tokens->type() == tensor::GgufType::array) {
    if (tokens->size() > static_cast<std::uint64_t>(kMaxVocabulary))
      refuse(name, fmt::format("expected a vocabulary of at most {} tokens, found {}", kMaxVocabulary, tokens->size()));
    facts.n_vocab = static_cast<int>(tokens->size());
  } else {
    facts.n_vocab = static_cast<int>(keys.number(a + "vocab_size", 0, kMaxVocabulary, 0));
  }
  return facts;
}

void check_loadable(const tensor::GgufMetadata& metadata, const ModelFacts& facts, const std::string& name) {
  const Keys keys(metadata, name);
  const std::string a = facts.architecture + ".";
  check_experts(keys, a, facts);
  keys.number(a + "nextn_predict_layers", 0, facts.n_layer, 0);
  if (const tensor::GgufValue* scaling = keys.find(a + "rope.scaling.type")) {
    static constexpr std::array<std::string_view, 4> kKnown = {"none", "linear", "yarn", "longrope"};
    const std::string_view found = scaling->text().value_or("");
    if (std::find(kKnown.begin(), kKnown.end(), found) == kKnown.end())
      refuse(name, fmt::format("expected none, linear, yarn or longrope as {}rope.scaling.type, found '{}'", a,
                               tensor::shown_name(found)));
  }
  check_reals(metadata, a, name);
  check_vocabulary(keys);
}

tensor::Checkpoint open_model_file(const std::filesystem::path& path) {
  const std::filesystem::path file = tensor::find_gguf(path);
  tensor::Checkpoint checkpoint = tensor::Checkpoint::open(file);
  if (!checkpoint.is_gguf())
    refuse(file.string(), "expected a GGUF file (it begins with \"GGUF\"), found another kind of file");
  return checkpoint;
}

std::vector<float> embedding_rows(const tensor::Checkpoint& checkpoint, std::span<const Token> tokens) {
  const tensor::StoredTensor& table = checkpoint.at("token_embd.weight");  // [n_vocab, d_model]
  if (table.shape.size() != 2)
    refuse(table.where, fmt::format("expected a table, found shape {}", tensor::shape_text(table.shape)));
  const std::int64_t d_model = table.shape[1];
  std::vector<float> rows(static_cast<std::size_t>(d_model) * tokens.size());  // [d_model, n_tokens]
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= table.shape[0])
      throw Error(ErrorCode::config, "token", fmt::format("expected 0..{}, found {}", table.shape[0] - 1, tokens[i]));
    tensor::unpack(table, tokens[i] * d_model, d_model, rows.data() + i * static_cast<std::size_t>(d_model));
  }
  return rows;
}

std::uint64_t cache_bytes(const ModelFacts& facts, const SessionOptions& session) {
  const std::uint64_t n_ctx = (static_cast<std::uint64_t>(std::max(session.n_ctx, 1)) + 255) / 256 * 256;
  std::uint64_t per_position = 0;
  for (int heads : facts.n_head_kv)
    per_position += static_cast<std::uint64_t>(heads) * static_cast<std::uint64_t>(facts.d_head_k + facts.d_head_v);
  return n_ctx * per_position * (session.f32_cache ? 4 : 2);
}

std::uint64_t vocabulary_bytes(const ModelFacts& facts) {
  constexpr std::uint64_t kEntry = 40, kNode = 64 + 8, kPiece = 32, kMerge = 96 + 8;
  return static_cast<std::uint64_t>(facts.n_vocab) * (kEntry + kNode + kPiece) +
         static_cast<std::uint64_t>(facts.n_merges) * kMerge;
}

std::uint64_t compute_bytes(const ModelFacts& facts, const SessionOptions& session, std::uint64_t n_tokens) {
  const auto wide = [](int n) { return static_cast<std::uint64_t>(n); };
  // Of the activations of a layer, F32, those that live at once: the stream and its norm beside the widest part, which
  // is the MLP's gate, its other half and their product, or queries, keys, values and what attention gives.
  const std::uint64_t heads = wide(facts.n_head) * wide(2 * facts.d_head_k + 2 * facts.d_head_v);
  const std::uint64_t activations = 4 * (2 * wide(facts.d_model) + std::max(3 * wide(facts.d_ff), heads));
  const std::uint64_t n_seen = (n_tokens + 255) / 256 * 256;  // positions of the mask, in F32 and in F16
  const std::uint64_t taps = 4 * wide(facts.d_model) * session.taps.size();
  // Logits: libllama clears a row for each output that there may be, and computes those of a chat one by one.
  const std::uint64_t logits = 4 * wide(facts.n_vocab) * (wide(session.max_outputs) + 1);
  return n_tokens * (activations + 6 * n_seen + taps) + logits;
}

}  // namespace morph::backbone
