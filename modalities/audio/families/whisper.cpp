// Family file of Whisper: config, weights table, graph, entry. Reference: transformers' modeling_whisper.py; paper:
// Radford et al. 2022. Covers every published size (80 or 128 mel bins, English-only or multilingual, tied or untied
// output table, any number of encoder and decoder layers, as distilled models have).
#include "families/whisper.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/bounded_json.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "recognise/whisper_session.h"
#include "recognise/whisper_tokens.h"
#include "tensor/layers/attention.h"
#include "tensor/layers/attention_cached_on_cpu.h"
#include "tensor/layers/conv_1d.h"
#include "tensor/layers/layer_norm.h"
#include "tensor/layers/linear.h"
#include "tensor/verify.h"

namespace morph::audio {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using tensor::GraphBuilder;
using tensor::WeightSet;

}  // namespace

// ------------------------------------------------------------------------------------------------------- config

namespace {

json read_json(const fs::path& file) { return read_bounded_json(file, JsonLimits{}, ErrorCode::weights); }

int read_int(const json& document, const std::string& where, const char* key) {
  const auto found = document.find(key);
  if (found == document.end() || !found->is_number_integer() || found->get<std::int64_t>() < 0 ||
      found->get<std::int64_t>() > 1'000'000'000)
    throw Error(ErrorCode::weights, where + "/" + key,
                fmt::format("expected a whole number, found {}", found == document.end() ? "nothing" : found->dump()));
  return found->get<int>();
}

std::vector<int> read_tokens(const json& document, const char* key) {
  std::vector<int> tokens;
  const auto found = document.find(key);
  if (found == document.end() || !found->is_array()) return tokens;
  for (const json& value : *found)
    if (value.is_number_integer() && value.get<std::int64_t>() >= 0 && value.get<std::int64_t>() < 1 << 30)
      tokens.push_back(value.get<int>());
  return tokens;
}

}  // namespace

WhisperConfig WhisperConfig::read(const fs::path& folder) {
  const std::string where = (folder / "config.json").string();
  const json document = read_json(folder / "config.json");
  if (!document.is_object())
    throw Error(ErrorCode::weights, where, "expected a JSON object, found none; is the model fetched in full?");
  const auto integer = [&](const char* key) { return read_int(document, where, key); };
  WhisperConfig config;
  config.d_model = integer("d_model");
  config.vocab_size = integer("vocab_size");
  config.num_mel_bins = integer("num_mel_bins");
  config.max_source_positions = integer("max_source_positions");
  config.max_target_positions = integer("max_target_positions");
  config.encoder_layers = integer("encoder_layers");
  config.encoder_attention_heads = integer("encoder_attention_heads");
  config.encoder_ffn_dim = integer("encoder_ffn_dim");
  config.decoder_layers = integer("decoder_layers");
  config.decoder_attention_heads = integer("decoder_attention_heads");
  config.decoder_ffn_dim = integer("decoder_ffn_dim");
  config.decoder_start_token_id = integer("decoder_start_token_id");
  config.eos_token_id = integer("eos_token_id");
  const json name = document.value("activation_function", json("gelu"));
  const auto activation = name.is_string() ? tensor::parse_activation(name.get<std::string>()) : std::nullopt;
  if (!activation)
    throw Error(ErrorCode::weights, where + "/activation_function",
                fmt::format("expected gelu, gelu_new, relu or silu, found {}", name.dump()));
  config.activation = *activation;
  const auto flag = [&](const char* key, bool otherwise) {
    const auto found = document.find(key);
    return found != document.end() && found->is_boolean() ? found->get<bool>() : otherwise;
  };
  config.scale_embedding = flag("scale_embedding", false);
  config.tie_word_embeddings = flag("tie_word_embeddings", true);
  const fs::path generation_file = folder / "generation_config.json";
  const json generation = fs::exists(generation_file) ? read_json(generation_file) : json();
  for (const char* key : {"suppress_tokens", "begin_suppress_tokens"}) {
    const json& from = generation.is_object() && generation.contains(key) ? generation : document;
    (std::string_view(key) == "suppress_tokens" ? config.suppress_tokens : config.begin_suppress_tokens) =
        read_tokens(from, key);
  }
  if (generation.is_object() && generation.contains("is_multilingual") && generation["is_multilingual"].is_boolean())
    config.is_multilingual = generation["is_multilingual"].get<bool>();
  config.validate(where);
  config.read_alignment_heads(generation.is_object() ? generation.value("alignment_heads", json()) : json());
  return config;
}

void WhisperConfig::read_alignment_heads(const json& listed) {
  alignment_heads.clear();
  if (listed.is_array())
    for (const json& pair : listed)
      if (pair.is_array() && pair.size() == 2 && pair[0].is_number_integer() && pair[1].is_number_integer()) {
        const auto layer = pair[0].get<std::int64_t>(), head = pair[1].get<std::int64_t>();
        if (layer >= 0 && layer < decoder_layers && head >= 0 && head < decoder_attention_heads)
          alignment_heads.emplace_back(static_cast<int>(layer), static_cast<int>(head));
      }
  if (alignment_heads.empty())
    for (int layer = decoder_layers / 2; layer < decoder_layers; ++layer)
      for (int head = 0; head < decoder_attention_heads; ++head) alignment_heads.emplace_back(layer, head);
  // In the order in which the graph joins them.
  std::sort(alignment_heads.begin(), alignment_heads.end());
  alignment_heads.erase(std::unique(alignment_heads.begin(), alignment_heads.end()), alignment_heads.end());
}

void WhisperConfig::validate(const std::string& where) const {
  const auto demand = [&](bool good, const char* key, const std::string& expected) {
    if (!good) throw Error(ErrorCode::weights, where + "/" + key, "expected " + expected);
  };
  demand(d_model > 0 && d_model <= 1 << 16, "d_model", fmt::format("1 to 65536, found {}", d_model));
  demand(vocab_size > 0, "vocab_size", "at least 1");
  demand(num_mel_bins > 0 && num_mel_bins <= 1024, "num_mel_bins", fmt::format("1 to 1024, found {}", num_mel_bins));
  demand(max_source_positions > 0 && max_source_positions <= 1 << 16, "max_source_positions", "1 to 65536");
  demand(max_target_positions > 0 && max_target_positions <= 1 << 16, "max_target_positions", "1 to 65536");
  demand(encoder_layers > 0 && encoder_layers <= 1024, "encoder_layers", "1 to 1024");
  demand(decoder_layers > 0 && decoder_layers <= 1024, "decoder_layers", "1 to 1024");
  demand(encoder_ffn_dim > 0, "encoder_ffn_dim", "at least 1");
  demand(decoder_ffn_dim > 0, "decoder_ffn_dim", "at least 1");
  demand(encoder_attention_heads > 0 && d_model % encoder_attention_heads == 0, "encoder_attention_heads",
         fmt::format("a divisor of d_model {}, found {}", d_model, encoder_attention_heads));
  demand(decoder_attention_heads > 0 && d_model % decoder_attention_heads == 0, "decoder_attention_heads",
         fmt::format("a divisor of d_model {}, found {}", d_model, decoder_attention_heads));
  demand(decoder_start_token_id < vocab_size, "decoder_start_token_id", "a token below vocab_size");
  demand(eos_token_id < vocab_size, "eos_token_id", "a token below vocab_size");
}

// ------------------------------------------------------------------------------------------------ weights table

namespace {

using tensor::Role;

/// One attention's four projections (the key's has no bias).
void add_attention(std::vector<tensor::TensorRow>& rows, const std::string& local, const std::string& published,
                   Role role) {
  for (const char* part : {"q", "k", "v", "out"}) {
    const std::string name = published + "." + part + "_proj";
    rows.push_back({local + "." + part + ".weight", name + ".weight", "d d", role});
    if (*part != 'k') rows.push_back({local + "." + part + ".bias", name + ".bias", "d", Role::vector});
  }
}

void add_norm(std::vector<tensor::TensorRow>& rows, const std::string& local, const std::string& published) {
  rows.push_back({local + ".weight", published + ".weight", "d", Role::vector});
  rows.push_back({local + ".bias", published + ".bias", "d", Role::vector});
}

void add_mlp(std::vector<tensor::TensorRow>& rows, const std::string& local, const std::string& published,
             const char* d_ff, Role role) {
  const std::string ff = d_ff;
  rows.push_back({local + ".fc1.weight", published + ".fc1.weight", ff + " d", role});
  rows.push_back({local + ".fc1.bias", published + ".fc1.bias", ff, Role::vector});
  rows.push_back({local + ".fc2.weight", published + ".fc2.weight", "d " + ff, role});
  rows.push_back({local + ".fc2.bias", published + ".fc2.bias", "d", Role::vector});
}

std::vector<tensor::TensorRow> weights_table(const WhisperConfig& config, const std::string& prefix) {
  std::vector<tensor::TensorRow> rows;
  const std::string enc = prefix + "encoder.", dec = prefix + "decoder.";
  rows.push_back({"enc.conv1.weight", enc + "conv1.weight", "d mels 3", Role::kernel});
  rows.push_back({"enc.conv1.bias", enc + "conv1.bias", "d", Role::vector});
  rows.push_back({"enc.conv2.weight", enc + "conv2.weight", "d d 3", Role::kernel});
  rows.push_back({"enc.conv2.bias", enc + "conv2.bias", "d", Role::vector});
  rows.push_back({"enc.positions", enc + "embed_positions.weight", "n_source d", Role::position});
  const std::string enc_layer = enc + "layers.{n_enc}";
  add_attention(rows, "enc.{n_enc}.attn", enc_layer + ".self_attn", Role::matrix);
  add_norm(rows, "enc.{n_enc}.attn_norm", enc_layer + ".self_attn_layer_norm");
  add_mlp(rows, "enc.{n_enc}", enc_layer, "enc_ff", Role::matrix);
  add_norm(rows, "enc.{n_enc}.norm", enc_layer + ".final_layer_norm");
  add_norm(rows, "enc.norm", enc + "layer_norm");

  rows.push_back({"dec.tokens", dec + "embed_tokens.weight", "vocab d", Role::lookup});
  rows.push_back({"dec.positions", dec + "embed_positions.weight", "n_target d", Role::position});
  const std::string dec_layer = dec + "layers.{n_dec}";
  add_attention(rows, "dec.{n_dec}.attn", dec_layer + ".self_attn", Role::lookup);
  add_norm(rows, "dec.{n_dec}.attn_norm", dec_layer + ".self_attn_layer_norm");
  add_attention(rows, "dec.{n_dec}.cross", dec_layer + ".encoder_attn", Role::lookup);
  add_norm(rows, "dec.{n_dec}.cross_norm", dec_layer + ".encoder_attn_layer_norm");
  add_mlp(rows, "dec.{n_dec}", dec_layer, "dec_ff", Role::lookup);
  add_norm(rows, "dec.{n_dec}.norm", dec_layer + ".final_layer_norm");
  add_norm(rows, "dec.norm", dec + "layer_norm");
  if (!config.tie_word_embeddings) rows.push_back({"dec.output", "proj_out.weight", "vocab d", Role::lookup});
  // Keys and values of the audio are computed for a whole window at once.
  for (tensor::TensorRow& row : rows)
    if (row.local.ends_with("cross.k.weight") || row.local.ends_with("cross.v.weight")) row.role = Role::matrix;
  return rows;
}

std::vector<tensor::BoundTensor> bind_whisper(const WhisperConfig& config, const tensor::Checkpoint& checkpoint) {
  const tensor::Dims dims{{"d", config.d_model},
                          {"mels", config.num_mel_bins},
                          {"vocab", config.vocab_size},
                          {"n_source", config.max_source_positions},
                          {"n_target", config.max_target_positions},
                          {"n_enc", config.encoder_layers},
                          {"n_dec", config.decoder_layers},
                          {"enc_ff", config.encoder_ffn_dim},
                          {"dec_ff", config.decoder_ffn_dim}};
  // A bare WhisperModel is published without the outer name.
  const std::string prefix = checkpoint.find("encoder.conv1.weight") != nullptr ? "" : "model.";
  std::vector<std::string> ignored;
  if (config.tie_word_embeddings) ignored.push_back("proj_out.weight");
  return tensor::bind(checkpoint, weights_table(config, prefix), dims, ignored);
}

}  // namespace

// -------------------------------------------------------------------------------------------------------- graph

namespace {

/// The weights of one layer: names below a prefix.
struct Part {
  const WeightSet& weights;
  std::string prefix;

  ggml_tensor* operator()(const std::string& name) const { return weights.at(prefix + name); }
  ggml_tensor* linear(GraphBuilder& g, const std::string& name, ggml_tensor* x) const {
    return tensor::linear(g.ctx, weights.at(prefix + name + ".weight"), weights.find(prefix + name + ".bias"), x);
  }
  ggml_tensor* norm(GraphBuilder& g, const std::string& name, ggml_tensor* x) const {
    return tensor::layer_norm(g.ctx, weights.at(prefix + name + ".weight"), weights.at(prefix + name + ".bias"), x);
  }
};

ggml_tensor* split_heads(GraphBuilder& g, ggml_tensor* x, int n_head) {
  return ggml_reshape_3d(g.ctx, x, x->ne[0] / n_head, n_head, x->ne[1]);  // [d_head, n_head, n]
}

float attention_scale(int d_model, int n_head) { return 1.0f / std::sqrt(static_cast<float>(d_model / n_head)); }

ggml_tensor* mlp(GraphBuilder& g, const Part& layer, tensor::Activation activation, ggml_tensor* x) {
  ggml_tensor* hidden = tensor::activate(g.ctx, activation, layer.linear(g, "fc1", layer.norm(g, "norm", x)), g.on_cpu);
  return ggml_add(g.ctx, x, layer.linear(g, "fc2", hidden));
}

}  // namespace

WhisperCaches::WhisperCaches(const tensor::Backend& backend, const WhisperConfig& config, int slots, int rows,
                             ggml_type type)
    : n_slots(slots),
      n_rows(rows),
      n_positions(config.max_source_positions),
      n_head(config.decoder_attention_heads),
      self(backend, config.decoder_layers, config.d_model, static_cast<std::int64_t>(rows) * slots, type),
      cross(backend, config.decoder_layers, config.d_model / config.decoder_attention_heads,
            static_cast<std::int64_t>(config.max_source_positions) * config.decoder_attention_heads * slots, type) {}

void build_whisper_encoder(GraphBuilder& g, const WhisperModel& model, const WhisperCaches& caches, int n_ctx,
                           bool keep_states) {
  const WhisperConfig& config = model.config;
  const WeightSet& w = *model.weights;
  const int n_head = config.encoder_attention_heads;
  const float scale = attention_scale(config.d_model, n_head);

  ggml_tensor* mel = g.input("mel", GGML_TYPE_F32, {2 * n_ctx, config.num_mel_bins});
  ggml_tensor* cross_rows = g.input("cross_rows", GGML_TYPE_I64, {n_ctx * caches.n_head});
  ggml_tensor* x = tensor::conv_1d(g.ctx, w.at("enc.conv1.weight"), w.at("enc.conv1.bias"), mel, 1, 1);  // [d, 2 n_ctx]
  x = tensor::activate(g.ctx, config.activation, x, g.on_cpu);
  x = ggml_cont(g.ctx, ggml_transpose(g.ctx, x));                                         // [2 n_ctx, d]
  x = tensor::conv_1d(g.ctx, w.at("enc.conv2.weight"), w.at("enc.conv2.bias"), x, 2, 1);  // [d, n_ctx]
  x = tensor::activate(g.ctx, config.activation, x, g.on_cpu);
  x = ggml_add(g.ctx, x, tensor::KvCache::head(g.ctx, w.at("enc.positions"), n_ctx));

  for (int i = 0; i < config.encoder_layers; ++i) {
    if (keep_states) g.output(fmt::format("encoder_hidden.{}", i), x);
    const Part layer{w, fmt::format("enc.{}.", i)};
    ggml_tensor* normed = layer.norm(g, "attn_norm", x);
    ggml_tensor* q = split_heads(g, layer.linear(g, "attn.q", normed), n_head);
    ggml_tensor* k = split_heads(g, layer.linear(g, "attn.k", normed), n_head);
    ggml_tensor* v = split_heads(g, layer.linear(g, "attn.v", normed), n_head);
    ggml_tensor* attended = tensor::attend_all(g.ctx, q, k, v, scale, g.on_cpu);  // [d, n_ctx]
    x = ggml_add(g.ctx, x, layer.linear(g, "attn.out", attended));
    x = mlp(g, layer, config.activation, x);
  }
  x = Part{w, "enc."}.norm(g, "norm", x);
  if (keep_states) g.output("encoder_last", x);

  const auto by_head = [&](ggml_tensor* y) {  // [d, n_ctx] -> [d_head, n_ctx * n_head]
    y = ggml_permute(g.ctx, split_heads(g, y, caches.n_head), 0, 2, 1, 3);
    return ggml_cont_2d(g.ctx, y, y->ne[0], static_cast<std::int64_t>(n_ctx) * caches.n_head);
  };
  for (int i = 0; i < config.decoder_layers; ++i) {
    const Part layer{w, fmt::format("dec.{}.cross.", i)};
    g.effect(tensor::KvCache::store(g.ctx, caches.cross.keys(i), by_head(layer.linear(g, "k", x)), cross_rows));
    g.effect(tensor::KvCache::store(g.ctx, caches.cross.values(i), by_head(layer.linear(g, "v", x)), cross_rows));
  }
}

namespace {

/// Keys and values of the slots that a shape names, as [d_head, n, n_head, n_slots].
ggml_tensor* text_rows(GraphBuilder& g, ggml_tensor* table, const WhisperCaches& caches,
                       const WhisperDecoderShape& shape) {
  const std::int64_t d_head = table->ne[0] / caches.n_head;
  const std::size_t slot = table->nb[1] * static_cast<std::size_t>(caches.n_rows);
  return ggml_view_4d(g.ctx, table, d_head, shape.n_kv, caches.n_head, shape.n_slots, table->nb[1],
                      ggml_row_size(table->type, d_head), slot, slot * static_cast<std::size_t>(shape.first_slot));
}

ggml_tensor* sound_rows(GraphBuilder& g, ggml_tensor* table, const WhisperCaches& caches,
                        const WhisperDecoderShape& shape) {
  const std::size_t head = table->nb[1] * static_cast<std::size_t>(caches.n_positions);
  const std::size_t slot = head * static_cast<std::size_t>(caches.n_head);
  return ggml_view_4d(g.ctx, table, table->ne[0], shape.n_audio, caches.n_head, shape.n_slots, table->nb[1], head, slot,
                      slot * static_cast<std::size_t>(shape.first_slot));
}

/// `q` [d_head, n_head, n_tokens, n_slots] over keys and values -> [d, n_tokens * n_slots].
ggml_tensor* attend(GraphBuilder& g, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, ggml_tensor* mask, float scale) {
  q = ggml_permute(g.ctx, q, 0, 2, 1, 3);  // [d_head, n_tokens, n_head, n_slots]
  if (g.on_cpu && tensor::can_attend_cached_on_cpu(q, k, v)) {
    ggml_tensor* mixed = tensor::attend_cached_on_cpu(g.ctx, q, k, v, mask, scale);
    return ggml_reshape_2d(g.ctx, mixed, q->ne[0] * q->ne[2], q->ne[1] * q->ne[3]);
  }
  ggml_tensor* mixed = ggml_flash_attn_ext(g.ctx, q, k, v, mask, scale, 0.0f, 0.0f);
  ggml_prec_set_acc(mixed, GGML_PREC_F32);
  return ggml_reshape_2d(g.ctx, mixed, q->ne[0] * q->ne[2], q->ne[1] * q->ne[3]);
}

/// Scores of one layer's alignment heads, [n_audio, n_tokens, n] joined to `all` (null: none yet).
ggml_tensor* alignment_scores(GraphBuilder& g, const WhisperModel& model, const WhisperDecoderShape& shape, int layer,
                              ggml_tensor* query, ggml_tensor* keys, float scale, ggml_tensor* all) {
  for (const auto& [of_layer, head] : model.config.alignment_heads) {
    if (of_layer != layer) continue;
    const auto h = static_cast<std::size_t>(head);
    ggml_tensor* k =
        ggml_view_2d(g.ctx, keys, keys->ne[0], shape.n_audio, keys->nb[1], h * keys->nb[2]);  // [d_head, n_audio]
    ggml_tensor* q =
        ggml_cont(g.ctx, ggml_view_2d(g.ctx, query, query->ne[0], shape.n_tokens, query->nb[2], h * query->nb[1]));
    ggml_tensor* scores = ggml_scale(g.ctx, ggml_mul_mat(g.ctx, k, q), scale);  // [n_audio, n_tokens]
    all = all == nullptr ? scores : ggml_concat(g.ctx, all, scores, 2);
  }
  return all;
}

}  // namespace

void build_whisper_decoder(GraphBuilder& g, const WhisperModel& model, const WhisperCaches& caches,
                           const WhisperDecoderShape& shape) {
  const WhisperConfig& config = model.config;
  const WeightSet& w = *model.weights;
  const int n_head = config.decoder_attention_heads, n = shape.n_tokens * shape.n_slots;
  const float scale = attention_scale(config.d_model, n_head);

  ggml_tensor* tokens = g.input("tokens", GGML_TYPE_I32, {n});
  ggml_tensor* positions = g.input("positions", GGML_TYPE_I32, {n});
  ggml_tensor* rows = g.input("rows", GGML_TYPE_I64, {n});
  ggml_tensor* mask = g.input("mask", GGML_TYPE_F16, {shape.n_kv, shape.n_tokens, 1, shape.n_slots});
  ggml_tensor* audio_mask =
      shape.mask_audio ? g.input("audio_mask", GGML_TYPE_F16, {shape.n_audio, shape.n_tokens, 1, shape.n_slots})
                       : nullptr;
  const auto heads = [&](ggml_tensor* q) {
    return ggml_reshape_4d(g.ctx, q, config.d_model / n_head, n_head, shape.n_tokens, shape.n_slots);
  };

  ggml_tensor* x = ggml_get_rows(g.ctx, w.at("dec.tokens"), tokens);  // [d, n]
  if (config.scale_embedding) x = ggml_scale(g.ctx, x, std::sqrt(static_cast<float>(config.d_model)));
  x = ggml_add(g.ctx, x, ggml_get_rows(g.ctx, w.at("dec.positions"), positions));

  ggml_tensor* scores = nullptr;
  for (int i = 0; i < config.decoder_layers; ++i) {
    const Part layer{w, fmt::format("dec.{}.", i)};
    ggml_tensor* normed = layer.norm(g, "attn_norm", x);
    g.effect(tensor::KvCache::store(g.ctx, caches.self.keys(i), layer.linear(g, "attn.k", normed), rows));
    g.effect(tensor::KvCache::store(g.ctx, caches.self.values(i), layer.linear(g, "attn.v", normed), rows));
    ggml_tensor* attended =
        attend(g, heads(layer.linear(g, "attn.q", normed)), text_rows(g, caches.self.keys(i), caches, shape),
               text_rows(g, caches.self.values(i), caches, shape), mask, scale);  // [d, n]
    x = ggml_add(g.ctx, x, layer.linear(g, "attn.out", attended));

    ggml_tensor* query = heads(layer.linear(g, "cross.q", layer.norm(g, "cross_norm", x)));
    ggml_tensor* keys = sound_rows(g, caches.cross.keys(i), caches, shape);
    if (shape.n_outputs == 0) scores = alignment_scores(g, model, shape, i, query, keys, scale, scores);
    attended = attend(g, query, keys, sound_rows(g, caches.cross.values(i), caches, shape), audio_mask, scale);
    x = ggml_add(g.ctx, x, layer.linear(g, "cross.out", attended));
    x = mlp(g, layer, config.activation, x);
  }
  if (shape.n_outputs == 0) {
    g.output("scores", scores);
    return;
  }
  ggml_tensor* outputs = g.input("outputs", GGML_TYPE_I32, {shape.n_outputs});
  x = Part{w, "dec."}.norm(g, "norm", ggml_get_rows(g.ctx, x, outputs));  // [d, n_outputs]
  g.output("logits", ggml_mul_mat(g.ctx, model.output_table(), x));       // [vocab_size, n_outputs]
}

// -------------------------------------------------------------------------------------------------------- entry

namespace {

RecogniserInfo describe(const WhisperModel& model) {
  RecogniserInfo info;
  info.family = "whisper";
  info.folder = model.folder;
  info.window_s = 0.02 * model.config.max_source_positions;
  info.word_times = true;
  info.languages = {"en"};
  if (!model.tokens) return info;
  const WhisperTokens tokens(model);
  if (!tokens.multilingual()) return info;
  info.languages.clear();
  for (const auto& [code, id] : tokens.languages) info.languages.push_back(code);
  info.translates = true;
  return info;
}

tensor::StoragePolicy policy_of(bool exact) {
  return exact ? tensor::StoragePolicy::exact() : tensor::StoragePolicy::fast();
}

std::string model_key(const fs::path& folder, const std::string& device, const tensor::StoragePolicy& policy) {
  std::error_code ignored;
  const fs::path absolute = fs::weakly_canonical(folder, ignored);
  return fmt::format("whisper|{}|{}|{}", (absolute.empty() ? folder : absolute).string(), device, policy.name);
}

}  // namespace

ggml_tensor* WhisperModel::output_table() const {
  return weights->at(config.tie_word_embeddings ? "dec.tokens" : "dec.output");
}

std::shared_ptr<const WhisperModel> load_whisper(const fs::path& folder, const std::string& device, int n_threads,
                                                 const tensor::StoragePolicy& policy,
                                                 const std::function<void(double)>& progress) {
  auto model = std::make_shared<WhisperModel>();
  model->config = WhisperConfig::read(folder);
  model->folder = folder;
  model->device = device;
  if (fs::exists(folder / "tokenizer.json"))
    model->tokens = std::make_shared<TokenText>(TokenText::read(folder / "tokenizer.json"));
  const tensor::Checkpoint checkpoint = tensor::Checkpoint::open(folder);
  const tensor::Backend backend(device, n_threads);
  model->weights = std::make_unique<WeightSet>(bind_whisper(model->config, checkpoint), policy, backend, progress);
  model->about = describe(*model);
  return model;
}

std::shared_ptr<RecogniserSession> WhisperModel::open(const RecogniserUse& use) const {
  return std::make_shared<WhisperSession>(std::static_pointer_cast<const WhisperModel>(shared_from_this()), use);
}

void WhisperModel::check(const HearOptions& options) const {
  const WhisperTokens known(*this);
  if (!options.language.empty()) known.prompt(options.language, options.translating, true);
  if (options.translating && !known.multilingual())
    throw Error(ErrorCode::config, "task",
                "expected task transcribe: this model knows English only; choose a multilingual one to translate");
}

namespace {

bool recognise(const fs::path& path) try {
  const json document = read_json(path / "config.json");
  return document.is_object() && document.value("model_type", json()) == json("whisper");
} catch (const Error&) {  // whatever it is, it is not this
  return false;
}

/// Greedy continuation of `prompt` until `n` tokens in all; after the end-of-text token, padding repeats it.
std::vector<std::int64_t> greedy(WhisperNetwork& network, std::vector<int> tokens, std::size_t n) {
  const WhisperConfig& config = network.model().config;
  std::vector<int> fresh = tokens;
  const std::size_t n_prompt = tokens.size();
  while (tokens.size() < n) {
    const auto logits = network.feed(0, FeedRequest::in_a_row(fresh, static_cast<int>(tokens.size() - fresh.size())));
    std::vector<float> scores(logits.begin(), logits.end());
    const auto suppress = [&](const std::vector<int>& list) {
      for (const int token : list)
        if (token >= 0 && token < config.vocab_size) scores[static_cast<std::size_t>(token)] = -INFINITY;
    };
    suppress(config.suppress_tokens);
    if (tokens.size() == n_prompt) suppress(config.begin_suppress_tokens);
    const int best = static_cast<int>(std::max_element(scores.begin(), scores.end()) - scores.begin());
    tokens.push_back(best);
    fresh = {best};
    if (best == config.eos_token_id) break;
  }
  tokens.resize(n, config.eos_token_id);
  return {tokens.begin(), tokens.end()};
}

/// One item of the golden batch: computes the output called `name`; empty when there is no such thing.
class Verifier {
 public:
  Verifier(const fs::path& folder, const std::string& device)
      : golden_(folder),
        network_(load_whisper(folder, device, 1, tensor::StoragePolicy::exact()), {1, 1, true, true}) {}

  std::vector<VerifyRow> run() {
    golden_.declare("encoder_last", "encoder", [this] { return encoder("encoder_last"); });
    golden_.declare("encoder_last_hidden_state", "encoder", [this] { return encoder("encoder_last"); });
    for (int i = 0; i < network_.model().config.encoder_layers; ++i)
      golden_.declare(fmt::format("encoder_hidden.{}", i), "encoder",
                      [this, i] { return encoder(fmt::format("encoder_hidden.{}", i)); });
    golden_.declare("logits", "decoder", [this] { return logits(); });
    for (const char* name : {"greedy", "sequences", "generated_ids"})
      golden_.declare_integers(name, "decoder", [this, name] { return sequences(name); });
    return golden_.run();
  }

 private:
  /// Runs the encoder on batch item `b`.
  void encode(std::int64_t b) {
    const tensor::StoredTensor& features = golden_.input("input_features", 3);  // [batch, mels, frames]
    if (b == encoded_) return;
    const std::int64_t n = features.shape[1] * features.shape[2];
    std::vector<float> mel(static_cast<std::size_t>(n));
    tensor::unpack(features, b * n, n, mel.data());
    network_.encode(0, mel, static_cast<int>(features.shape[2] / 2));
    encoded_ = b;
  }
  std::int64_t batch() { return golden_.input("input_features", 3).shape[0]; }
  std::vector<int> prompt(std::int64_t b) {
    const tensor::StoredTensor& ids = golden_.input("decoder_input_ids", 2);
    const std::vector<std::int64_t> all = tensor::to_i64(ids);
    const auto begin = all.begin() + b * ids.shape[1];
    return {begin, begin + ids.shape[1]};
  }
  std::vector<float> encoder(const std::string& name) {
    std::vector<float> all;
    for (std::int64_t b = 0; b < batch(); ++b) {
      encode(b);
      const std::vector<float> one = network_.state(name);
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }
  std::vector<float> logits() {
    std::vector<float> all;
    for (std::int64_t b = 0; b < batch(); ++b) {
      encode(b);
      const std::vector<int> tokens = prompt(b);
      FeedRequest whole = FeedRequest::in_a_row(tokens, 0);
      whole.outputs.resize(tokens.size());
      std::iota(whole.outputs.begin(), whole.outputs.end(), 0);
      const auto one = network_.feed(0, whole);
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }
  /// Whether the prompt is part of the recorded sequence is seen from the recording.
  std::vector<std::int64_t> sequences(const std::string& name) {
    const tensor::StoredTensor& expected = golden_.output(name);
    const std::vector<std::int64_t> recorded = tensor::to_i64(expected);
    const std::size_t n = static_cast<std::size_t>(expected.shape.back());
    std::vector<std::int64_t> all;
    for (std::int64_t b = 0; b < batch(); ++b) {
      encode(b);
      std::vector<int> start = golden_.has_input("decoder_input_ids")
                                   ? prompt(b)
                                   : std::vector<int>{network_.model().config.decoder_start_token_id};
      const bool whole = n >= start.size() &&
                         std::equal(start.begin(), start.end(), recorded.begin() + b * static_cast<std::int64_t>(n));
      const std::vector<std::int64_t> one = greedy(network_, start, whole ? n : n + start.size());
      all.insert(all.end(), whole ? one.begin() : one.begin() + static_cast<std::ptrdiff_t>(start.size()), one.end());
    }
    return all;
  }

  tensor::GoldenSet golden_;
  WhisperNetwork network_;
  std::int64_t encoded_ = -1;
};

RecogniserInfo describe_folder(const fs::path& folder) {
  WhisperModel model;
  model.config = WhisperConfig::read(folder);
  model.folder = folder;
  if (fs::exists(folder / "tokenizer.json"))
    model.tokens = std::make_shared<TokenText>(TokenText::read(folder / "tokenizer.json"));
  static_cast<void>(WhisperTokens(model));  // refuses a folder that lacks what hearing needs
  return describe(model);
}

Estimate estimate(const fs::path& folder, const std::string& device, bool exact, int n_windows, int beam_size) {
  const WhisperConfig config = WhisperConfig::read(folder);
  const tensor::StoragePolicy policy = policy_of(exact);
  const auto d = static_cast<std::uint64_t>(config.d_model),
             n = static_cast<std::uint64_t>(config.max_source_positions), slots = static_cast<std::uint64_t>(n_windows),
             vocab = static_cast<std::uint64_t>(config.vocab_size);
  Estimate costs;
  const tensor::Checkpoint checkpoint = tensor::Checkpoint::open(folder);
  costs.weights = tensor::weight_bytes(bind_whisper(config, checkpoint), policy);
  costs.weights_key = model_key(folder, device, policy);
  // Keys and values in 16 bits, and the logits of graphs that are kept for the numbers of texts and lengths met.
  costs.scratch = slots * 4 * d * static_cast<std::uint64_t>(config.decoder_layers) *
                  (n + static_cast<std::uint64_t>(WhisperNetwork::text_rows(config)) + 1);
  costs.scratch += 4 * vocab * (8 * slots + 24 + 4 * static_cast<std::uint64_t>(beam_size));
  // Scores of a block of queries, the widest activations, and the inputs of the second convolution.
  costs.scratch += 4 * n *
                   (256 * static_cast<std::uint64_t>(config.encoder_attention_heads) +
                    static_cast<std::uint64_t>(config.encoder_ffn_dim) + 10 * d);
  // Graphs for every number of texts that are decoded together: 69 MiB were measured with tiny.en, 77 with base.
  if (n_windows > 1) costs.scratch += 68ULL << 20;
  costs.session = 4 * 16000 * 30 * slots;  // sound that waits
  costs.load_peak = 32ULL << 20;
  costs.longest_step_ms = 1000;
  return costs;
}

std::shared_ptr<const Recogniser> load(const fs::path& folder, const RecogniserLoad& load) {
  const tensor::StoragePolicy policy = policy_of(load.exact);
  return load.models.get_as<WhisperModel>(model_key(folder, load.device, policy), [&] {
    return load_whisper(folder, load.device, load.n_threads, policy, load.progress);
  });
}

}  // namespace

void register_whisper(Registry& registry) {
  FamilySpec family;
  family.name = "whisper";
  family.job = "recogniser";
  family.help = "Speech recognition and translation to English (OpenAI Whisper and its distilled forms)";
  family.recognise = recognise;
  family.verify = [](const fs::path& folder, const std::string& device) { return Verifier(folder, device).run(); };
  registry.add_family(std::move(family));
  registry.part<RecogniserFamilies>()->all.push_back(
      {"whisper", "config.json with model_type whisper, tokenizer.json, model.safetensors", recognise, describe_folder,
       estimate, load});
}

}  // namespace morph::audio
