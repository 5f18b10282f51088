// Family file of BERT as a sentence embedder: config, weights table, graph, entry. References: transformers'
// modeling_bert.py; Devlin et al. 2018 (arXiv 1810.04805); Reimers and Gurevych 2019 (arXiv 1908.10084) for the
// pooling, which modules.json and 1_Pooling/config.json of a published folder say (a bare BERT is pooled by its mean).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <utility>

#include "embed/embedder.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/stage.h"
#include "tensor/graph.h"
#include "tensor/layers/activation.h"
#include "tensor/layers/attention.h"
#include "tensor/layers/layer_norm.h"
#include "tensor/layers/linear.h"
#include "tensor/published_config.h"
#include "tensor/verify.h"
#include "tensor/weights/weight_set.h"

namespace morph::text {
namespace {

namespace fs = std::filesystem;
using tensor::GraphBuilder;
using tensor::PublishedConfig;
using tensor::Role;
using tensor::WeightSet;

// ------------------------------------------------------------------------------------------------------------- config

enum class Pooling : unsigned char { cls, mean, max, mean_sqrt_len, last };

struct BertConfig {
  int hidden_size = 0, num_hidden_layers = 0, num_attention_heads = 0, intermediate_size = 0;
  int vocab_size = 0, max_position_embeddings = 0, type_vocab_size = 0;
  float layer_norm_eps = 1e-12f;
  tensor::Activation hidden_act = tensor::Activation::gelu;
  Pooling pooling = Pooling::mean;
  bool normalize = false;
  int max_tokens = 0;

  static BertConfig read(const fs::path& folder);
};

/// What modules.json lists beside the transformer.
void read_modules(const fs::path& folder, BertConfig& config) {
  std::error_code failed;
  if (!fs::exists(folder / "modules.json", failed)) return;
  const nlohmann::json modules = tensor::read_json_file(folder / "modules.json");
  const std::string where = (folder / "modules.json").string();
  if (!modules.is_array()) throw Error(ErrorCode::weights, where, "expected a list of modules, found none");
  for (std::size_t i = 0; i < modules.size(); ++i) {
    const PublishedConfig module(modules[i], fmt::format("{}/{}", where, i));
    const std::string type = module.text({"type"}), path = module.text({"path"}, "");
    if (type.ends_with(".Normalize")) {
      config.normalize = true;
    } else if (type.ends_with(".Pooling")) {
      if (path.find("..") != path.npos || fs::path(path).is_absolute())
        module.refuse("path", "a folder within the model's");
      const PublishedConfig pooling = PublishedConfig::read(folder / path / "config.json");
      int n = 0;
      for (const auto& [key, kind] : {std::pair{"pooling_mode_cls_token", Pooling::cls},
                                      {"pooling_mode_mean_tokens", Pooling::mean},
                                      {"pooling_mode_max_tokens", Pooling::max},
                                      {"pooling_mode_mean_sqrt_len_tokens", Pooling::mean_sqrt_len},
                                      {"pooling_mode_lasttoken", Pooling::last}})
        if (pooling.flag({key}, false)) {
          config.pooling = kind;
          ++n;
        }
      if (n != 1)
        throw Error(ErrorCode::weights, pooling.where(),
                    fmt::format("expected one pooling_mode among cls, mean, max, mean_sqrt_len and lasttoken to be "
                                "true, found {}",
                                n));
    } else if (!type.ends_with(".Transformer")) {
      module.refuse("type", "a Transformer, Pooling or Normalize module");
    }
  }
}

BertConfig BertConfig::read(const fs::path& folder) {
  const PublishedConfig file = PublishedConfig::read(folder / "config.json");
  BertConfig config;
  const auto size = [&](std::string_view key, std::int64_t max) {
    return static_cast<int>(file.integer({key}, 1, max));
  };
  config.hidden_size = size("hidden_size", 1 << 16);
  config.num_hidden_layers = size("num_hidden_layers", 1024);
  config.num_attention_heads = size("num_attention_heads", 1 << 12);
  config.intermediate_size = size("intermediate_size", 1 << 18);
  config.vocab_size = size("vocab_size", 1 << 22);
  config.max_position_embeddings = size("max_position_embeddings", 1 << 20);
  config.type_vocab_size = size("type_vocab_size", 1 << 10);
  config.layer_norm_eps = static_cast<float>(file.number({"layer_norm_eps"}, 0.0, 1.0, 1e-12));
  const auto activation = tensor::parse_activation(file.text({"hidden_act"}, "gelu"));
  file.demand(activation.has_value(), "hidden_act", "gelu, gelu_new, relu or silu");
  config.hidden_act = *activation;
  file.demand(config.hidden_size % config.num_attention_heads == 0, "num_attention_heads",
              fmt::format("a divisor of hidden_size {}", config.hidden_size));
  file.demand(file.text({"position_embedding_type"}, "absolute") == "absolute", "position_embedding_type",
              "\"absolute\"");
  const PublishedConfig sentence = PublishedConfig::read_if_there(folder / "sentence_bert_config.json");
  config.max_tokens = static_cast<int>(
      sentence.integer({"max_seq_length"}, 3, config.max_position_embeddings, config.max_position_embeddings));
  read_modules(folder, config);
  return config;
}

// ------------------------------------------------------------------------------------------------------ weights table

std::vector<tensor::TensorRow> weights_table(const std::string& prefix) {
  std::vector<tensor::TensorRow> rows;
  const auto norm = [&](const std::string& local, const std::string& published) {
    rows.push_back({local + ".weight", prefix + published + ".weight", "d", Role::vector});
    rows.push_back({local + ".bias", prefix + published + ".bias", "d", Role::vector});
  };
  const auto linear = [&](const std::string& local, const std::string& published, const std::string& out,
                          const std::string& in) {
    rows.push_back({local + ".weight", prefix + published + ".weight", out + " " + in, Role::matrix});
    rows.push_back({local + ".bias", prefix + published + ".bias", out, Role::vector});
  };
  rows.push_back({"tokens", prefix + "embeddings.word_embeddings.weight", "vocab d", Role::lookup});
  rows.push_back({"positions", prefix + "embeddings.position_embeddings.weight", "n_position d", Role::position});
  rows.push_back({"types", prefix + "embeddings.token_type_embeddings.weight", "n_type d", Role::position});
  norm("norm", "embeddings.LayerNorm");
  const std::string layer = "encoder.layer.{n_layer}.";
  for (const auto& [local, published] : {std::pair{"q", "query"}, {"k", "key"}, {"v", "value"}})
    linear(fmt::format("{{n_layer}}.{}", local), layer + "attention.self." + published, "d", "d");
  linear("{n_layer}.out", layer + "attention.output.dense", "d", "d");
  norm("{n_layer}.attn_norm", layer + "attention.output.LayerNorm");
  linear("{n_layer}.up", layer + "intermediate.dense", "ff", "d");
  linear("{n_layer}.down", layer + "output.dense", "d", "ff");
  norm("{n_layer}.norm", layer + "output.LayerNorm");
  return rows;
}

std::vector<tensor::BoundTensor> bind_bert(const BertConfig& config, const tensor::Checkpoint& checkpoint) {
  const tensor::Dims dims{{"d", config.hidden_size},          {"ff", config.intermediate_size},
                          {"vocab", config.vocab_size},       {"n_position", config.max_position_embeddings},
                          {"n_type", config.type_vocab_size}, {"n_layer", config.num_hidden_layers}};
  const std::string prefix = checkpoint.find("bert.embeddings.word_embeddings.weight") != nullptr ? "bert." : "";
  // Heads of pre-training, and the pooler, which sentence embedders don't use.
  return tensor::bind(
      checkpoint, weights_table(prefix), dims,
      {prefix + "pooler.dense.weight", prefix + "pooler.dense.bias", "cls.*", prefix + "embeddings.position_ids"});
}

// -------------------------------------------------------------------------------------------------------------- graph

constexpr std::size_t kTokensTogether = 4096;  ///< of one graph, padding included

struct BertModel {
  BertConfig config;
  std::unique_ptr<WeightSet> weights;
};

/// Inputs: "tokens", "types" I32 [n * batch], "positions" I32 [n], "mask" F32 [n, n, 1, batch]. Outputs: "hidden.N"
/// [d, n, batch] for the embeddings (0) and each layer where `keep_states`, "last_hidden_state" always.
void build(GraphBuilder& g, const BertModel& model, int n, int batch, bool keep_states) {
  const BertConfig& config = model.config;
  const WeightSet& w = *model.weights;
  const std::int64_t d = config.hidden_size, n_head = config.num_attention_heads, d_head = d / n_head;
  const float eps = config.layer_norm_eps, scale = 1.0f / std::sqrt(static_cast<float>(d_head));
  const auto norm = [&](const std::string& name, ggml_tensor* x) {
    return tensor::layer_norm(g.ctx, w.at(name + ".weight"), w.at(name + ".bias"), x, eps);
  };
  const auto linear = [&](const std::string& name, ggml_tensor* x) {
    return tensor::linear(g.ctx, w.at(name + ".weight"), w.at(name + ".bias"), x);
  };
  ggml_tensor* tokens = g.input("tokens", GGML_TYPE_I32, {n * batch});
  ggml_tensor* types = g.input("types", GGML_TYPE_I32, {n * batch});
  ggml_tensor* positions = g.input("positions", GGML_TYPE_I32, {n});
  ggml_tensor* mask = g.input("mask", GGML_TYPE_F32, {n, n, 1, batch});
  ggml_tensor* x = ggml_get_rows(g.ctx, w.at("tokens"), tokens);  // [d, n * batch]
  x = ggml_add(g.ctx, x, ggml_get_rows(g.ctx, w.at("types"), types));
  x = ggml_reshape_3d(g.ctx, x, d, n, batch);
  x = norm("norm", ggml_add(g.ctx, x, ggml_get_rows(g.ctx, w.at("positions"), positions)));
  if (keep_states) g.output("hidden.0", x);
  for (int i = 0; i < config.num_hidden_layers; ++i) {
    const std::string layer = fmt::format("{}.", i);
    const auto heads = [&](const std::string& name) {  // [d_head, n_head, n, batch]
      return ggml_reshape_4d(g.ctx, linear(layer + name, x), d_head, n_head, n, batch);
    };
    ggml_tensor* attended = tensor::attend(g.ctx, heads("q"), heads("k"), heads("v"), mask, scale);  // [d, n, batch]
    x = norm(layer + "attn_norm", ggml_add(g.ctx, x, linear(layer + "out", attended)));
    ggml_tensor* hidden = tensor::activate(g.ctx, config.hidden_act, linear(layer + "up", x), g.on_cpu);
    x = norm(layer + "norm", ggml_add(g.ctx, x, linear(layer + "down", hidden)));
    if (keep_states) g.output(fmt::format("hidden.{}", i + 1), x);
  }
  g.output("last_hidden_state", x);
}

/// `states` [d, n] of one sequence, of which `length` count.
std::vector<float> pool(const BertConfig& config, const float* states, std::size_t length) {
  const auto d = static_cast<std::size_t>(config.hidden_size);
  std::vector<double> sum(d, config.pooling == Pooling::max ? -INFINITY : 0.0);
  std::size_t first = 0, last = length;
  if (config.pooling == Pooling::cls) last = 1;
  if (config.pooling == Pooling::last) first = length - 1;
  for (std::size_t t = first; t < last; ++t)
    for (std::size_t i = 0; i < d; ++i) {
      const double value = states[t * d + i];
      sum[i] = config.pooling == Pooling::max ? std::max(sum[i], value) : sum[i] + value;
    }
  double over = 1.0, square = 0.0;
  if (config.pooling == Pooling::mean) over = static_cast<double>(length);
  if (config.pooling == Pooling::mean_sqrt_len) over = std::sqrt(static_cast<double>(length));
  for (double& value : sum) {
    value /= over;
    square += value * value;
  }
  const double norm = config.normalize ? std::max(std::sqrt(square), 1e-12) : 1.0;
  std::vector<float> pooled(d);
  for (std::size_t i = 0; i < d; ++i) pooled[i] = static_cast<float>(sum[i] / norm);
  return pooled;
}

class Bert final : public Embedder {
 public:
  Bert(const fs::path& folder, const FamilyUse& use, const std::function<void(double)>& progress)
      : policy_(use.exact ? tensor::StoragePolicy::exact() : tensor::StoragePolicy::stored()),
        backend_(use.device, use.n_threads) {
    model_.config = BertConfig::read(folder);
    const BertConfig& config = model_.config;
    info_.family = "bert";
    info_.folder = folder;
    info_.d_embedding = config.hidden_size;
    info_.max_tokens = config.max_tokens;
    info_.normalized = config.normalize;
    const tensor::Checkpoint checkpoint = tensor::Checkpoint::open(folder);
    model_.weights = std::make_unique<WeightSet>(bind_bert(config, checkpoint), policy_, backend_, progress);
  }

  const EmbedderInfo& info() const override { return info_; }
  const BertConfig& config() const { return model_.config; }
  const tensor::StoragePolicy& policy() const { return policy_; }

  Encoded tokens(std::string_view text) const override {
    std::call_once(tokenizer_read_, [this] { tokenizer_ = read_tokenizer(info_.folder); });
    return tokenizer_->encode(text, {true, static_cast<std::size_t>(info_.max_tokens)});
  }

  std::vector<std::vector<float>> embed(std::span<const std::vector<int>> sequences) const override {
    // Texts of like length go together, as many as kTokensTogether holds: little padding, bounded memory.
    std::vector<std::size_t> order(sequences.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return sequences[a].size() < sequences[b].size(); });
    std::vector<std::vector<float>> out(sequences.size());
    for (std::size_t first = 0; first < order.size();) {
      std::size_t last = first + 1;
      while (last < order.size() && (last - first + 1) * sequences[order[last]].size() <= kTokensTogether) ++last;
      std::vector<std::vector<int>> batch;
      for (std::size_t i = first; i < last; ++i) batch.push_back(sequences[order[i]]);
      const std::vector<float> states = run(batch, {}, "last_hidden_state");  // [d, n, batch]
      const std::size_t item = states.size() / batch.size();
      for (std::size_t i = 0; i < batch.size(); ++i)
        out[order[first + i]] = pool(model_.config, states.data() + i * item, batch[i].size());
      first = last;
    }
    return out;
  }

  /// One output of the graph over a batch, padded to the longest. `types`: as `sequences`, or none for all 0.
  std::vector<float> run(std::span<const std::vector<int>> sequences, std::span<const std::vector<int>> types,
                         const std::string& output) const {
    if (sequences.empty()) return {};
    std::size_t n = 0;
    std::vector<std::int64_t> lengths;
    for (const std::vector<int>& sequence : sequences) {
      if (sequence.empty() || sequence.size() > static_cast<std::size_t>(model_.config.max_position_embeddings))
        throw Error(ErrorCode::config, "text/embed",
                    fmt::format("expected 1 to {} tokens in a text, found {}", model_.config.max_position_embeddings,
                                sequence.size()));
      for (const int id : sequence)
        if (id < 0 || id >= model_.config.vocab_size)
          throw Error(ErrorCode::weights, info_.folder.string(),
                      fmt::format("expected token ids below vocab_size {}, found {}; the tokenizer is another model's",
                                  model_.config.vocab_size, id));
      n = std::max(n, sequence.size());
      lengths.push_back(static_cast<std::int64_t>(sequence.size()));
    }
    std::vector<std::int32_t> ids(n * sequences.size()), kinds(ids.size()), positions(n);
    for (std::size_t b = 0; b < sequences.size(); ++b) {
      std::copy(sequences[b].begin(), sequences[b].end(), ids.begin() + static_cast<std::ptrdiff_t>(b * n));
      if (b < types.size())
        std::copy(types[b].begin(), types[b].end(), kinds.begin() + static_cast<std::ptrdiff_t>(b * n));
    }
    for (std::size_t i = 0; i < n; ++i) positions[i] = static_cast<std::int32_t>(i);
    const auto columns = static_cast<std::int64_t>(n);
    const std::lock_guard<std::mutex> turn(mutex_);
    tensor::Graph graph(
        backend_, 128 + 64 * static_cast<std::size_t>(model_.config.num_hidden_layers), [&](GraphBuilder& g) {
          build(g, model_, static_cast<int>(n), static_cast<int>(sequences.size()), output != "last_hidden_state");
        });
    graph.set("tokens", ids);
    graph.set("types", kinds);
    graph.set("positions", positions);
    graph.set("mask", tensor::padding_mask(lengths, columns, columns));
    graph.run();
    return graph.get_f32(output);
  }

 private:
  EmbedderInfo info_;
  tensor::StoragePolicy policy_;
  BertModel model_;
  mutable std::mutex mutex_;  ///< one graph at a time: they share the backend
  mutable tensor::Backend backend_;
  mutable std::once_flag tokenizer_read_;
  mutable std::shared_ptr<const Tokenizer> tokenizer_;
};

// -------------------------------------------------------------------------------------------------------------- entry

bool recognise(const fs::path& folder) { return tensor::json_file_says(folder / "config.json", "model_type", "bert"); }

std::shared_ptr<const ModelInfo> describe(const fs::path& folder) {
  const BertConfig config = BertConfig::read(folder);
  auto info = std::make_shared<EmbedderInfo>();
  info->family = "bert";
  info->folder = folder;
  info->d_embedding = config.hidden_size;
  info->max_tokens = config.max_tokens;
  info->normalized = config.normalize;
  return info;
}

std::string key_of(const fs::path& folder, const FamilyUse& use) {
  std::error_code ignored;
  const fs::path whole = fs::weakly_canonical(folder, ignored);
  return fmt::format("bert|{}|{}|{}", (whole.empty() ? folder : whole).string(), use.device,
                     use.exact ? "exact" : "stored");
}

Estimate estimate(const fs::path& folder, const FamilyUse& use) {
  const BertConfig config = BertConfig::read(folder);
  const tensor::StoragePolicy policy = use.exact ? tensor::StoragePolicy::exact() : tensor::StoragePolicy::stored();
  Estimate cost;
  cost.weights = tensor::weight_bytes(bind_bert(config, tensor::Checkpoint::open(folder)), policy);
  cost.weights_key = key_of(folder, use);
  // What lives at once at the widest places: scores of all heads, or the hidden layer, of as many longest texts as go
  // together.
  const std::uint64_t n = static_cast<std::uint64_t>(config.max_tokens),
                      batch = std::max<std::uint64_t>(1, kTokensTogether / n);
  const auto d = static_cast<std::uint64_t>(config.hidden_size),
             ff = static_cast<std::uint64_t>(config.intermediate_size),
             heads = static_cast<std::uint64_t>(config.num_attention_heads);
  cost.scratch = 4 * n * batch * (std::max(2 * heads * n + 4 * d, 2 * ff + 2 * d) + d + n);
  cost.longest_step_ms = 2000;
  return cost;
}

/// Outputs by the names of transformers and sentence-transformers; inputs input_ids and, where there, attention_mask
/// and token_type_ids, all [batch, n].
class Verifier {
 public:
  Verifier(const fs::path& folder, const std::string& device, bool exact)
      : golden_(folder), bert_(folder, FamilyUse{device, 1, exact, 0}, {}) {
    const tensor::StoredTensor& ids = golden_.input("input_ids", 2);
    n_ = static_cast<std::size_t>(ids.shape[1]);
    const auto rows = [&](const char* name, std::int64_t otherwise) {
      std::vector<std::int64_t> values(static_cast<std::size_t>(ids.elements()), otherwise);
      return golden_.has_input(name) ? tensor::to_i64(golden_.input(name, 2)) : values;
    };
    const std::vector<std::int64_t> all = tensor::to_i64(ids), mask = rows("attention_mask", 1),
                                    kinds = rows("token_type_ids", 0);
    for (std::size_t b = 0; b * n_ < all.size(); ++b) {
      std::size_t length = 0;
      while (length < n_ && b * n_ + length < mask.size() && mask[b * n_ + length] != 0) ++length;
      const auto take = [&](const std::vector<std::int64_t>& from) {
        const auto begin = from.begin() + static_cast<std::ptrdiff_t>(b * n_);
        return std::vector<int>(begin, begin + static_cast<std::ptrdiff_t>(length));
      };
      sequences_.push_back(take(all));
      types_.push_back(take(kinds));
    }
  }

  std::vector<VerifyRow> run() {
    const double tolerance = bert_.policy().tolerance;
    const std::string configuration = bert_.policy().about();
    for (int i = 0; i <= bert_.config().num_hidden_layers; ++i)
      golden_.declare(
          fmt::format("hidden.{}", i), "encoder", [this, i] { return states(fmt::format("hidden.{}", i)); }, tolerance);
    golden_.declare(
        "last_hidden_state", "encoder", [this] { return states("last_hidden_state"); }, tolerance);
    for (const char* name : {"sentence_embedding", "embeddings"})
      golden_.declare(
          name, "pooling", [this] { return embeddings(); }, tolerance);
    return golden_.run(configuration);
  }

 private:
  /// Padding is not compared: references differ in what they leave there. It is taken over from the expected values.
  std::vector<float> states(const std::string& name) {
    const std::vector<float> wanted = tensor::to_f32(golden_.output(name));
    std::vector<float> found = bert_.run(sequences_, types_, name);  // [d, longest, batch]
    const auto d = static_cast<std::size_t>(bert_.config().hidden_size);
    const std::size_t longest = found.size() / d / sequences_.size();
    if (wanted.size() != d * n_ * sequences_.size()) return found;
    std::vector<float> whole = wanted;
    for (std::size_t b = 0; b < sequences_.size(); ++b)
      std::copy_n(found.begin() + static_cast<std::ptrdiff_t>(b * longest * d), sequences_[b].size() * d,
                  whole.begin() + static_cast<std::ptrdiff_t>(b * n_ * d));
    return whole;
  }
  std::vector<float> embeddings() {
    std::vector<float> all;
    for (const std::vector<float>& one : bert_.embed(sequences_)) all.insert(all.end(), one.begin(), one.end());
    return all;
  }

  tensor::GoldenSet golden_;
  Bert bert_;
  std::size_t n_ = 0;
  std::vector<std::vector<int>> sequences_, types_;
};

}  // namespace

void register_bert(Registry& registry) {
  FamilySpec family;
  family.name = "bert";
  family.job = kEmbedderJob;
  family.help = "Sentence embedders on BERT (all-MiniLM, BGE, E5, GTE and their like)";
  family.files = "config.json of model_type bert, model.safetensors, a tokenizer";
  family.recognise = recognise;
  family.describe = describe;
  family.estimate = estimate;
  family.create = [](const fs::path& folder, const FamilyUse& use, ModelStore& models,
                     const std::function<void(double)>& progress) -> std::shared_ptr<const Model> {
    return models.get(key_of(folder, use), [&] { return std::make_shared<const Bert>(folder, use, progress); });
  };
  family.verify = [](const fs::path& folder, const std::string& device) {
    return tensor::both_ways([&](bool exact) { return Verifier(folder, device, exact).run(); });
  };
  registry.add_family(std::move(family));
}

}  // namespace morph::text
