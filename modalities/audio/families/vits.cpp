// Family file of VITS voices as Hugging Face publishes them (MMS-TTS in 1,100 languages, vits-ljs, vits-vctk): config,
// weights table, graphs, entry. References: transformers' modeling_vits.py; papers: Kim et al. 2021 (arXiv 2106.06103),
// Durkan et al. 2019 (arXiv 1906.04032) for the splines of the duration predictor, Shaw et al. 2018 (arXiv 1803.02155)
// for relative positions. Tensors lie with time innermost, as convolutions want them, but for the text encoder.
#include <fmt/format.h>
#include <unicode/locid.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>
#include <utility>

#include "morph/error.h"
#include "morph/registry.h"
#include "synthesise/phonemes.h"
#include "synthesise/voice.h"
#include "tensor/graph.h"
#include "tensor/layers/activation.h"
#include "tensor/layers/attention.h"
#include "tensor/layers/conv.h"
#include "tensor/layers/layer_norm.h"
#include "tensor/layers/linear.h"
#include "tensor/layers/norms.h"
#include "tensor/layers/relative_attention.h"
#include "tensor/layers/spline.h"
#include "tensor/published_config.h"
#include "tensor/verify.h"
#include "tensor/weights/weight_norm.h"
#include "tensor/weights/weight_set.h"

namespace morph::audio {
namespace {

namespace fs = std::filesystem;
using tensor::ConvSteps;
using tensor::GraphBuilder;
using tensor::PublishedConfig;
using tensor::Role;
using tensor::TensorRow;
using tensor::WeightSet;

// ------------------------------------------------------------------------------------------------------------- config

struct VitsConfig {
  int vocab_size = 0, hidden_size = 0, num_hidden_layers = 0, num_attention_heads = 0, window_size = 0;
  int ffn_dim = 0, ffn_kernel_size = 0, flow_size = 0, num_speakers = 1, speaker_embedding_size = 0;
  bool use_bias = true, use_stochastic_duration_prediction = true;
  int depth_separable_num_layers = 0, duration_predictor_kernel_size = 0, duration_predictor_filter_channels = 0;
  int duration_predictor_flow_bins = 0, duration_predictor_num_flows = 0;
  double duration_predictor_tail_bound = 5.0;
  int prior_encoder_num_flows = 0, prior_encoder_num_wavenet_layers = 0;
  int wavenet_kernel_size = 0, wavenet_dilation_rate = 1;
  int upsample_initial_channel = 0, sampling_rate = 0;
  std::vector<std::int64_t> upsample_rates, upsample_kernel_sizes, resblock_kernel_sizes;
  std::vector<std::vector<std::int64_t>> resblock_dilation_sizes;
  float layer_norm_eps = 1e-5f, leaky_relu_slope = 0.1f;
  double noise_scale = 0, noise_scale_duration = 0, speaking_rate = 1;
  tensor::Activation hidden_act = tensor::Activation::relu;

  static VitsConfig read(const fs::path& folder);
  void validate(const PublishedConfig& file) const;
  bool has_speakers() const { return num_speakers > 1 && speaker_embedding_size > 0; }
  std::int64_t samples_per_frame() const {
    std::int64_t n = 1;
    for (const std::int64_t rate : upsample_rates) n *= rate;
    return n;
  }
};

VitsConfig VitsConfig::read(const fs::path& folder) {
  const PublishedConfig file = PublishedConfig::read(folder / "config.json");
  VitsConfig config;
  const auto size = [&](std::string_view key, std::int64_t max = 1 << 16) {
    return static_cast<int>(file.integer({key}, 1, max));
  };
  config.vocab_size = size("vocab_size", 1 << 20);
  config.hidden_size = size("hidden_size");
  config.num_hidden_layers = size("num_hidden_layers", 1024);
  config.num_attention_heads = size("num_attention_heads", 1024);
  config.window_size = static_cast<int>(file.integer({"window_size"}, 0, 1024, 0));
  config.ffn_dim = size("ffn_dim");
  config.ffn_kernel_size = size("ffn_kernel_size", 255);
  config.flow_size = size("flow_size");
  config.num_speakers = static_cast<int>(file.integer({"num_speakers"}, 1, 1 << 20, 1));
  config.speaker_embedding_size = static_cast<int>(file.integer({"speaker_embedding_size"}, 0, 1 << 16, 0));
  config.use_bias = file.flag({"use_bias"}, true);
  config.use_stochastic_duration_prediction = file.flag({"use_stochastic_duration_prediction"}, true);
  config.depth_separable_num_layers = size("depth_separable_num_layers", 8);
  config.duration_predictor_kernel_size = size("duration_predictor_kernel_size", 15);
  config.duration_predictor_filter_channels = size("duration_predictor_filter_channels");
  config.duration_predictor_flow_bins = size("duration_predictor_flow_bins", 256);
  config.duration_predictor_num_flows = size("duration_predictor_num_flows", 64);
  config.duration_predictor_tail_bound = file.number({"duration_predictor_tail_bound"}, 0.1, 1000.0, 5.0);
  config.prior_encoder_num_flows = size("prior_encoder_num_flows", 64);
  config.prior_encoder_num_wavenet_layers = size("prior_encoder_num_wavenet_layers", 64);
  config.wavenet_kernel_size = size("wavenet_kernel_size", 255);
  config.wavenet_dilation_rate = size("wavenet_dilation_rate", 16);
  config.upsample_initial_channel = size("upsample_initial_channel");
  config.sampling_rate = static_cast<int>(file.integer({"sampling_rate"}, 8000, 96000));
  config.upsample_rates = file.integers({"upsample_rates"}, 1, 64, 8);
  config.upsample_kernel_sizes = file.integers({"upsample_kernel_sizes"}, 1, 255, 8);
  config.resblock_kernel_sizes = file.integers({"resblock_kernel_sizes"}, 1, 63, 8);
  config.resblock_dilation_sizes = file.integer_lists({"resblock_dilation_sizes"}, 1, 64, 8);
  config.layer_norm_eps = static_cast<float>(file.number({"layer_norm_eps"}, 0.0, 1.0, 1e-5));
  config.leaky_relu_slope = static_cast<float>(file.number({"leaky_relu_slope"}, 0.0, 1.0, 0.1));
  config.noise_scale = file.number({"noise_scale"}, 0.0, 10.0, 0.667);
  config.noise_scale_duration = file.number({"noise_scale_duration"}, 0.0, 10.0, 0.8);
  config.speaking_rate = file.number({"speaking_rate"}, 0.05, 20.0, 1.0);
  const auto activation = tensor::parse_activation(file.text({"hidden_act"}, "relu"));
  file.demand(activation.has_value(), "hidden_act", "gelu, gelu_new, relu or silu");
  config.hidden_act = *activation;
  file.demand(file.integer({"depth_separable_channels"}, 1, 1024, 2) == 2, "depth_separable_channels", "2");
  config.validate(file);
  return config;
}

void VitsConfig::validate(const PublishedConfig& file) const {
  file.demand(hidden_size % num_attention_heads == 0, "num_attention_heads",
              fmt::format("a divisor of hidden_size {}", hidden_size));
  file.demand(flow_size % 2 == 0, "flow_size", "an even number");
  file.demand(!upsample_rates.empty(), "upsample_rates", "at least one");
  file.demand(upsample_kernel_sizes.size() == upsample_rates.size(), "upsample_kernel_sizes",
              "as many as upsample_rates");
  for (std::size_t i = 0; i < upsample_rates.size(); ++i)
    file.demand(
        upsample_kernel_sizes[i] >= upsample_rates[i] && (upsample_kernel_sizes[i] - upsample_rates[i]) % 2 == 0,
        "upsample_kernel_sizes", "each at least its rate, by an even number");
  file.demand((upsample_initial_channel >> upsample_rates.size()) > 0 &&
                  upsample_initial_channel % (1 << upsample_rates.size()) == 0,
              "upsample_initial_channel", "a number that can be halved once for each of upsample_rates");
  file.demand(!resblock_kernel_sizes.empty(), "resblock_kernel_sizes", "at least one");
  file.demand(resblock_dilation_sizes.size() == resblock_kernel_sizes.size(), "resblock_dilation_sizes",
              "as many lists as resblock_kernel_sizes");
  for (const std::int64_t k : resblock_kernel_sizes) file.demand(k % 2 == 1, "resblock_kernel_sizes", "odd numbers");
  file.demand(wavenet_kernel_size % 2 == 1, "wavenet_kernel_size", "an odd number");
  file.demand(duration_predictor_kernel_size % 2 == 1, "duration_predictor_kernel_size", "an odd number");
  file.demand(samples_per_frame() <= 1 << 14, "upsample_rates", "a product of at most 16384");
  file.demand(duration_predictor_flow_bins * 1e-3 < 1.0, "duration_predictor_flow_bins", "fewer than 1000");
}

// ------------------------------------------------------------------------------------------------------ weights table

/// Weight and bias of a convolution: local, published, shape of the weight.
void add_conv(std::vector<TensorRow>& rows, const std::string& local, const std::string& published,
              const std::string& shape, const std::string& out, bool bias = true) {
  rows.push_back({local + ".weight", published + ".weight", shape, Role::kernel});
  if (bias) rows.push_back({local + ".bias", published + ".bias", out, Role::vector});
}

void add_norm(std::vector<TensorRow>& rows, const std::string& local, const std::string& published,
              const std::string& width) {
  rows.push_back({local + ".weight", published + ".weight", width, Role::vector});
  rows.push_back({local + ".bias", published + ".bias", width, Role::vector});
}

void add_separable(std::vector<TensorRow>& rows, const std::string& local, const std::string& published) {
  const std::string i = "{n_dds}";
  add_conv(rows, local + ".dilated." + i, published + ".convs_dilated." + i, "d 1 k_dp", "d");
  add_conv(rows, local + ".pointwise." + i, published + ".convs_pointwise." + i, "d d 1", "d");
  add_norm(rows, local + ".norm1." + i, published + ".norms_1." + i, "d");
  add_norm(rows, local + ".norm2." + i, published + ".norms_2." + i, "d");
}

void add_text_encoder(std::vector<TensorRow>& rows, const VitsConfig& config) {
  rows.push_back({"tokens", "text_encoder.embed_tokens.weight", "vocab d", Role::lookup});
  const std::string layer = "text_encoder.encoder.layers.{n_layer}.";
  for (const char* part : {"q", "k", "v", "out"}) {
    const std::string published = fmt::format("{}attention.{}_proj", layer, part);
    rows.push_back({fmt::format("{{n_layer}}.{}.weight", part), published + ".weight", "d d", Role::matrix});
    if (config.use_bias)
      rows.push_back({fmt::format("{{n_layer}}.{}.bias", part), published + ".bias", "d", Role::vector});
  }
  if (config.window_size > 0)
    for (const char* part : {"k", "v"})
      rows.push_back({fmt::format("{{n_layer}}.rel_{}", part), fmt::format("{}attention.emb_rel_{}", layer, part),
                      "1 n_rel d_head", Role::position});
  add_norm(rows, "{n_layer}.norm1", layer + "layer_norm", "d");
  add_norm(rows, "{n_layer}.norm2", layer + "final_layer_norm", "d");
  add_conv(rows, "{n_layer}.ff1", layer + "feed_forward.conv_1", "ff d k_ff", "ff");
  add_conv(rows, "{n_layer}.ff2", layer + "feed_forward.conv_2", "d ff k_ff", "d");
  add_conv(rows, "stats", "text_encoder.project", "flow2 d 1", "flow2");
}

void add_duration_predictor(std::vector<TensorRow>& rows, const VitsConfig& config) {
  const std::string dp = "duration_predictor.";
  if (!config.use_stochastic_duration_prediction) {
    add_conv(rows, "dp.conv1", dp + "conv_1", "f_dp d k_dp", "f_dp");
    add_norm(rows, "dp.norm1", dp + "norm_1", "f_dp");
    add_conv(rows, "dp.conv2", dp + "conv_2", "f_dp f_dp k_dp", "f_dp");
    add_norm(rows, "dp.norm2", dp + "norm_2", "f_dp");
    add_conv(rows, "dp.proj", dp + "proj", "1 f_dp 1", "1");
    if (config.has_speakers()) add_conv(rows, "dp.cond", dp + "cond", "d spk 1", "d");
    return;
  }
  add_conv(rows, "dp.pre", dp + "conv_pre", "d d 1", "d");
  add_conv(rows, "dp.proj", dp + "conv_proj", "d d 1", "d");
  if (config.has_speakers()) add_conv(rows, "dp.cond", dp + "cond", "d spk 1", "d");
  add_separable(rows, "dp.dds", dp + "conv_dds");
  rows.push_back({"dp.translate", dp + "flows.0.translate", "2 1", Role::vector});
  rows.push_back({"dp.log_scale", dp + "flows.0.log_scale", "2 1", Role::vector});
  // The first flow is of use in training only.
  for (int i = 2; i <= config.duration_predictor_num_flows; ++i) {
    const std::string local = fmt::format("dp.flow{}", i), published = fmt::format("{}flows.{}", dp, i);
    add_conv(rows, local + ".pre", published + ".conv_pre", "d 1 1", "d");
    add_separable(rows, local + ".dds", published + ".conv_dds");
    add_conv(rows, local + ".proj", published + ".conv_proj", "n_spline d 1", "n_spline");
  }
}

std::vector<TensorRow> weights_table(const VitsConfig& config) {
  std::vector<TensorRow> rows;
  add_text_encoder(rows, config);
  add_duration_predictor(rows, config);
  const std::string flow = "flow.flows.{n_flow}.";
  add_conv(rows, "flow.{n_flow}.pre", flow + "conv_pre", "d half 1", "d");
  add_conv(rows, "flow.{n_flow}.post", flow + "conv_post", "half d 1", "half");
  add_conv(rows, "flow.{n_flow}.in.{n_wave}", flow + "wavenet.in_layers.{n_wave}", "d2 d k_wave", "d2");
  add_conv(rows, "flow.{n_flow}.out.{n_wave}", flow + "wavenet.res_skip_layers.{n_wave}", "skip d 1", "skip");
  if (config.has_speakers()) {
    add_conv(rows, "flow.{n_flow}.cond", flow + "wavenet.cond_layer", "d2_wave spk 1", "d2_wave");
    add_conv(rows, "dec.cond", "decoder.cond", "up0 spk 1", "up0");
    rows.push_back({"speakers", "embed_speaker.weight", "n_speaker spk", Role::position});
  }
  add_conv(rows, "dec.pre", "decoder.conv_pre", "up0 flow 7", "up0");
  add_conv(rows, "dec.up.{n_up}", "decoder.upsampler.{n_up}", "up_in up_out k_up", "up_out");
  for (const char* part : {"convs1", "convs2"})
    add_conv(rows, fmt::format("dec.res.{{n_res}}.{}.{{n_dil}}", part),
             fmt::format("decoder.resblocks.{{n_res}}.{}.{{n_dil}}", part), "ch ch k_res", "ch");
  add_conv(rows, "dec.post", "decoder.conv_post", "1 up_last 7", "1", false);
  return rows;
}

tensor::Dims dims_of(const VitsConfig& config) {
  const std::int64_t d = config.hidden_size;
  tensor::Dims dims{{"d", d},
                    {"vocab", config.vocab_size},
                    {"d2", 2 * d},
                    {"d_head", d / config.num_attention_heads},
                    {"n_layer", config.num_hidden_layers},
                    {"n_rel", 2 * config.window_size + 1},
                    {"ff", config.ffn_dim},
                    {"k_ff", config.ffn_kernel_size},
                    {"flow", config.flow_size},
                    {"flow2", 2 * config.flow_size},
                    {"half", config.flow_size / 2},
                    {"n_flow", config.prior_encoder_num_flows},
                    {"n_wave", config.prior_encoder_num_wavenet_layers},
                    {"k_wave", config.wavenet_kernel_size},
                    {"d2_wave", 2 * d * config.prior_encoder_num_wavenet_layers},
                    {"spk", config.speaker_embedding_size},
                    {"n_speaker", config.num_speakers},
                    {"k_dp", config.duration_predictor_kernel_size},
                    {"f_dp", config.duration_predictor_filter_channels},
                    {"n_dds", config.depth_separable_num_layers},
                    {"n_spline", 3 * config.duration_predictor_flow_bins - 1},
                    {"up0", config.upsample_initial_channel}};
  for (int flow = 0; flow < config.prior_encoder_num_flows; ++flow)  // the last layer has no residual half
    for (int i = 0; i < config.prior_encoder_num_wavenet_layers; ++i)
      dims[fmt::format("skip.{}.{}", flow, i)] = i + 1 < config.prior_encoder_num_wavenet_layers ? 2 * d : d;
  const std::size_t n_kernel = config.resblock_kernel_sizes.size(), n_up = config.upsample_rates.size();
  dims["n_up"] = static_cast<std::int64_t>(n_up);
  dims["n_res"] = static_cast<std::int64_t>(n_up * n_kernel);
  for (std::size_t i = 0; i < n_up; ++i) {
    const std::int64_t channels = config.upsample_initial_channel >> (i + 1);
    dims[fmt::format("up_in.{}", i)] = 2 * channels;
    dims[fmt::format("up_out.{}", i)] = dims["up_last"] = channels;
    dims[fmt::format("k_up.{}", i)] = config.upsample_kernel_sizes[i];
    for (std::size_t k = 0; k < n_kernel; ++k) {
      const std::size_t block = i * n_kernel + k;
      dims[fmt::format("ch.{}", block)] = channels;
      dims[fmt::format("k_res.{}", block)] = config.resblock_kernel_sizes[k];
      dims[fmt::format("n_dil.{}", block)] = static_cast<std::int64_t>(config.resblock_dilation_sizes[k].size());
    }
  }
  return dims;
}

std::vector<tensor::BoundTensor> bind_vits(const VitsConfig& config, const tensor::Checkpoint& checkpoint) {
  // What only training needs.
  return tensor::bind(checkpoint, weights_table(config), dims_of(config),
                      {"posterior_encoder.*", "duration_predictor.post_*", "duration_predictor.flows.1.*"});
}

// ------------------------------------------------------------------------------------------------------------- graphs

struct VitsModel {
  VitsConfig config;
  std::unique_ptr<WeightSet> weights;
};

/// Draws with a model's weights by local name.
struct Draw {
  GraphBuilder& g;
  const VitsConfig& config;
  const WeightSet& w;

  ggml_tensor* conv(const std::string& name, ggml_tensor* x, ConvSteps steps = {}) const {
    return tensor::conv_time(g.ctx, w.at(name + ".weight"), w.find(name + ".bias"), x, steps);
  }
  ggml_tensor* linear(const std::string& name, ggml_tensor* x) const {
    return tensor::linear(g.ctx, w.at(name + ".weight"), w.find(name + ".bias"), x);
  }
  ggml_tensor* norm(const std::string& name, ggml_tensor* x, float eps) const {
    return tensor::layer_norm(g.ctx, w.at(name + ".weight"), w.at(name + ".bias"), x, eps);
  }
  ggml_tensor* channel_norm(const std::string& name, ggml_tensor* x, float eps) const {
    return tensor::channel_norm(g.ctx, w.at(name + ".weight"), w.at(name + ".bias"), x, eps);
  }
  /// [d, n] <-> [n, d]
  ggml_tensor* turn(ggml_tensor* x) const { return ggml_cont(g.ctx, ggml_transpose(g.ctx, x)); }
  /// Channels first..first+n of [n_time, channels].
  ggml_tensor* channels(ggml_tensor* x, std::int64_t first, std::int64_t n) const {
    return ggml_cont(g.ctx, ggml_view_2d(g.ctx, x, x->ne[0], n, x->nb[1], static_cast<std::size_t>(first) * x->nb[1]));
  }
  /// The speaker's vector through a 1x1 convolution, [1, d_out]; null for a voice of one speaker.
  ggml_tensor* speaker(const std::string& name) const {
    if (!config.has_speakers()) return nullptr;
    ggml_tensor* row = ggml_get_rows(g.ctx, w.at("speakers"), g.named.at("speaker"));  // [spk, 1]
    return conv(name, ggml_reshape_2d(g.ctx, row, 1, row->ne[0]));
  }
  void add_speaker_input() const {
    if (config.has_speakers()) g.input("speaker", GGML_TYPE_I32, {1});
  }

  /// A convolution that keeps the length, whatever the kernel's: the odd one of the padding lies at the end.
  ggml_tensor* conv_same(const std::string& name, ggml_tensor* x) const {
    const auto k = static_cast<int>(w.at(name + ".weight")->ne[0]);
    if (k % 2 == 1) return conv(name, x, {1, k / 2, 1});
    return conv(name, ggml_pad_ext(g.ctx, x, (k - 1) / 2, k / 2, 0, 0, 0, 0, 0, 0));
  }

  /// Dilated depth-separable convolutions with residuals. `x`, `condition` [n, d] (condition may be null).
  ggml_tensor* separable(const std::string& name, ggml_tensor* x, ggml_tensor* condition) const {
    if (condition != nullptr) x = ggml_add(g.ctx, x, condition);
    int dilation = 1;
    const int k = config.duration_predictor_kernel_size;
    for (int i = 0; i < config.depth_separable_num_layers; ++i, dilation *= k) {
      ggml_tensor* h = conv(fmt::format("{}.dilated.{}", name, i), x, {1, (k * dilation - dilation) / 2, dilation});
      h = tensor::activate(g.ctx, tensor::Activation::gelu, channel_norm(fmt::format("{}.norm1.{}", name, i), h, 1e-5f),
                           g.on_cpu);
      h = conv(fmt::format("{}.pointwise.{}", name, i), h);
      h = tensor::activate(g.ctx, tensor::Activation::gelu, channel_norm(fmt::format("{}.norm2.{}", name, i), h, 1e-5f),
                           g.on_cpu);
      x = ggml_add(g.ctx, x, h);
    }
    return x;
  }
};

/// Input "tokens" I32 [n]. Outputs "stats" [n, 2 * flow_size] (means, then log variances of the prior) and "duration":
/// [n, 1] log durations, or, of the stochastic predictor, [n, d] its condition.
void build_text(GraphBuilder& g, const VitsModel& model, int n) {
  const VitsConfig& config = model.config;
  const Draw draw{g, config, *model.weights};
  draw.add_speaker_input();
  const std::int64_t d = config.hidden_size, n_head = config.num_attention_heads, d_head = d / n_head;
  ggml_tensor* x = ggml_get_rows(g.ctx, draw.w.at("tokens"), g.input("tokens", GGML_TYPE_I32, {n}));  // [d, n]
  x = ggml_scale(g.ctx, x, std::sqrt(static_cast<float>(d)));
  for (int i = 0; i < config.num_hidden_layers; ++i) {
    const std::string layer = fmt::format("{}.", i);
    const auto heads = [&](const char* name) {
      return ggml_reshape_3d(g.ctx, draw.linear(layer + name, x), d_head, n_head, n);
    };
    ggml_tensor* attended = tensor::attend_relative(g.ctx, heads("q"), heads("k"), heads("v"),
                                                    draw.w.find(layer + "rel_k"), draw.w.find(layer + "rel_v"),
                                                    1.0f / std::sqrt(static_cast<float>(d_head)));  // [d, n]
    x = draw.norm(layer + "norm1", ggml_add(g.ctx, x, draw.linear(layer + "out", attended)), config.layer_norm_eps);
    ggml_tensor* h = draw.conv_same(layer + "ff1", draw.turn(x));
    h = draw.conv_same(layer + "ff2", tensor::activate(g.ctx, config.hidden_act, h, g.on_cpu));
    x = draw.norm(layer + "norm2", ggml_add(g.ctx, x, draw.turn(h)), config.layer_norm_eps);
  }
  ggml_tensor* text = draw.turn(x);  // [n, d]
  g.output("stats", draw.conv("stats", text));
  ggml_tensor* speaker = draw.speaker("dp.cond");
  if (config.use_stochastic_duration_prediction) {
    ggml_tensor* h = draw.conv("dp.pre", text);
    if (speaker != nullptr) h = ggml_add(g.ctx, h, speaker);
    g.output("duration", draw.conv("dp.proj", draw.separable("dp.dds", h, nullptr)));
    return;
  }
  ggml_tensor* h = speaker != nullptr ? ggml_add(g.ctx, text, speaker) : text;
  for (const char* part : {"1", "2"})
    h = draw.channel_norm(std::string("dp.norm") + part,
                          ggml_relu(g.ctx, draw.conv_same(std::string("dp.conv") + part, h)), config.layer_norm_eps);
  g.output("duration", draw.conv("dp.proj", h));
}

/// One flow of the stochastic predictor. Inputs "half" [n, 1] and "condition" [n, d]; output "spline" [n, 3 * bins -
/// 1].
void build_duration_flow(GraphBuilder& g, const VitsModel& model, int n, int flow) {
  const Draw draw{g, model.config, *model.weights};
  const std::string name = fmt::format("dp.flow{}", flow);
  ggml_tensor* half = g.input("half", GGML_TYPE_F32, {n, 1});
  ggml_tensor* condition = g.input("condition", GGML_TYPE_F32, {n, model.config.hidden_size});
  g.output("spline",
           draw.conv(name + ".proj", draw.separable(name + ".dds", draw.conv(name + ".pre", half), condition)));
}

/// Gated convolutions of one flow step. `x` [n, d] -> [n, d].
ggml_tensor* wavenet(const Draw& draw, const std::string& name, ggml_tensor* x) {
  const VitsConfig& config = draw.config;
  GraphBuilder& g = draw.g;
  const std::int64_t d = config.hidden_size;
  ggml_tensor *sum = nullptr, *speaker = draw.speaker(name + ".cond");  // [1, 2 d n_layers]
  int dilation = 1;
  for (int i = 0; i < config.prior_encoder_num_wavenet_layers; ++i, dilation *= config.wavenet_dilation_rate) {
    ggml_tensor* h = draw.conv(fmt::format("{}.in.{}", name, i), x,
                               {1, (config.wavenet_kernel_size - 1) * dilation / 2, dilation});  // [n, 2 d]
    if (speaker != nullptr) h = ggml_add(g.ctx, h, draw.channels(speaker, 2 * d * i, 2 * d));
    h = ggml_mul(g.ctx, ggml_tanh(g.ctx, draw.channels(h, 0, d)), ggml_sigmoid(g.ctx, draw.channels(h, d, d)));
    h = draw.conv(fmt::format("{}.out.{}", name, i), h);  // [n, 2 d], or [n, d] at the end
    ggml_tensor* skip = h;
    if (i + 1 < config.prior_encoder_num_wavenet_layers) {
      x = ggml_add(g.ctx, x, draw.channels(h, 0, d));
      skip = draw.channels(h, d, d);
    }
    sum = sum == nullptr ? skip : ggml_add(g.ctx, sum, skip);
  }
  return sum;
}

/// Inputs "prior" [n, flow_size] and "flip" I32 [flow_size], the channels backwards. Outputs "spectrogram" [n,
/// flow_size] and "waveform" [n * samples_per_frame, 1].
void build_speech(GraphBuilder& g, const VitsModel& model, int n) {
  const VitsConfig& config = model.config;
  const Draw draw{g, config, *model.weights};
  draw.add_speaker_input();
  ggml_tensor* x = g.input("prior", GGML_TYPE_F32, {n, config.flow_size});
  ggml_tensor* flip = g.input("flip", GGML_TYPE_I32, {config.flow_size});
  const std::int64_t half = config.flow_size / 2;
  for (int i = config.prior_encoder_num_flows - 1; i >= 0; --i) {
    const std::string name = fmt::format("flow.{}", i);
    x = ggml_get_rows(g.ctx, x, flip);
    ggml_tensor* first = draw.channels(x, 0, half);
    ggml_tensor* mean = draw.conv(name + ".post", wavenet(draw, name, draw.conv(name + ".pre", first)));
    x = ggml_concat(g.ctx, first, ggml_sub(g.ctx, draw.channels(x, half, half), mean), 1);
  }
  g.output("spectrogram", x);
  ggml_tensor* h = draw.conv("dec.pre", x, {1, 3, 1});
  if (ggml_tensor* speaker = draw.speaker("dec.cond")) h = ggml_add(g.ctx, h, speaker);
  const std::size_t n_kernel = config.resblock_kernel_sizes.size();
  for (std::size_t i = 0; i < config.upsample_rates.size(); ++i) {
    const auto rate = static_cast<int>(config.upsample_rates[i]), k = static_cast<int>(config.upsample_kernel_sizes[i]);
    const std::string up = fmt::format("dec.up.{}", i);
    h = ggml_leaky_relu(g.ctx, h, config.leaky_relu_slope, false);
    h = tensor::conv_time_transposed(g.ctx, draw.w.at(up + ".weight"), draw.w.at(up + ".bias"), h, rate,
                                     (k - rate) / 2);
    ggml_tensor* sum = nullptr;
    for (std::size_t kernel = 0; kernel < n_kernel; ++kernel) {
      ggml_tensor* y = h;
      const auto width = static_cast<int>(config.resblock_kernel_sizes[kernel]);
      const std::string block = fmt::format("dec.res.{}", i * n_kernel + kernel);
      for (std::size_t j = 0; j < config.resblock_dilation_sizes[kernel].size(); ++j) {
        const auto dilation = static_cast<int>(config.resblock_dilation_sizes[kernel][j]);
        ggml_tensor* z = ggml_leaky_relu(g.ctx, y, config.leaky_relu_slope, false);
        z = draw.conv(fmt::format("{}.convs1.{}", block, j), z, {1, (width - 1) * dilation / 2, dilation});
        z = ggml_leaky_relu(g.ctx, z, config.leaky_relu_slope, false);
        y = ggml_add(g.ctx, y, draw.conv(fmt::format("{}.convs2.{}", block, j), z, {1, (width - 1) / 2, 1}));
      }
      sum = sum == nullptr ? y : ggml_add(g.ctx, sum, y);
    }
    h = ggml_scale(g.ctx, sum, 1.0f / static_cast<float>(n_kernel));
  }
  h = draw.conv("dec.post", ggml_leaky_relu(g.ctx, h, 0.01f, false), {1, 3, 1});
  g.output("waveform", ggml_tanh(g.ctx, h));
}

// -------------------------------------------------------------------------------------------------------------- voice

/// One character in lower case; VITS's tables of letters are.
std::string lower_letter(const std::string& symbol) {
  icu::UnicodeString wide = icu::UnicodeString::fromUTF8(symbol);
  std::string lower;
  wide.toLower(icu::Locale::getRoot()).toUTF8String(lower);
  return lower;
}

/// Letters or phonemes to ids, as the folder's vocab.json and tokenizer_config.json say.
struct VitsTokens {
  std::map<std::string, std::int64_t> ids;
  bool add_blank = true, normalize = true, phonemize = false;
  std::string language;

  static VitsTokens read(const fs::path& folder, int vocab_size) {
    VitsTokens tokens;
    const PublishedConfig config = PublishedConfig::read_if_there(folder / "tokenizer_config.json");
    tokens.add_blank = config.flag({"add_blank"}, true);
    tokens.normalize = config.flag({"normalize"}, true);
    tokens.phonemize = config.flag({"phonemize"}, false);
    tokens.language = config.text({"language"}, "");
    if (config.flag({"is_uroman"}, false))
      throw Error(
          ErrorCode::weights, config.where() + "/is_uroman",
          "expected false: this voice takes romanised text; run uroman over the text for it first, and set this "
          "to false");
    const PublishedConfig vocab = PublishedConfig::read(folder / "vocab.json");
    for (const auto& [token, id] : vocab.object().items())
      tokens.ids[token] = vocab.integer({token}, 0, vocab_size - 1);
    return tokens;
  }

  VoiceTokens operator()(std::string_view text) const {
    VoiceTokens tokens;
    const auto append = [&](std::int64_t id) {
      if (add_blank) tokens.ids.push_back(0);
      tokens.ids.push_back(id);
    };
    for (const std::string& symbol : plain_phonemes(text)) {
      auto found = ids.find(symbol);
      if (found == ids.end() && !phonemize) found = ids.find(lower_letter(symbol));
      if (found == ids.end()) {
        tokens.n_skipped += symbol == " " ? 0 : 1;
        continue;
      }
      append(found->second);
      static constexpr std::string_view kSilent = " !'(),-.:;?ˈˌː";
      tokens.n_spoken += kSilent.find(symbol) == std::string_view::npos ? 1 : 0;
    }
    if (add_blank && !tokens.ids.empty()) tokens.ids.push_back(0);
    return tokens;
  }
};

/// Standard normal numbers of a seed, the same on every machine (splitmix64 and Box-Muller).
class Gaussian {
 public:
  explicit Gaussian(std::uint64_t seed) : state_(seed) {}
  float operator()() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return static_cast<float>(radius * std::cos(2.0 * std::numbers::pi * uniform()));
  }

 private:
  double uniform() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }
  std::uint64_t state_;
};

struct Spoken {
  std::vector<float> spectrogram, waveform;  ///< [n_frames, flow_size], [n_samples]
};

struct SpeakScales {
  double speed = 1, noise = 0, noise_timing = 0;
  std::uint64_t seed = 0;
  std::int32_t speaker = 0;
};

constexpr std::size_t kMostFrames = 1 << 15;  ///< of one utterance; some five minutes

class VitsVoice final : public Voice {
 public:
  VitsVoice(VoiceInfo info, const std::string& device, int n_threads, const tensor::StoragePolicy& policy)
      : info_(std::move(info)), policy_(policy), backend_(device, n_threads) {
    model_.config = VitsConfig::read(info_.folder);
    const tensor::Checkpoint checkpoint = tensor::fold_weight_norm(tensor::Checkpoint::open(info_.folder));
    model_.weights = std::make_unique<WeightSet>(bind_vits(model_.config, checkpoint), policy_, backend_);
    std::error_code failed;
    if (fs::exists(info_.folder / "vocab.json", failed))
      tokens_ = VitsTokens::read(info_.folder, model_.config.vocab_size);
  }

  const VoiceInfo& info() const override { return info_; }
  const tensor::StoragePolicy& policy() const { return policy_; }
  const VitsConfig& config() const { return model_.config; }

  VoiceTokens tokens(std::string_view text) const override {
    if (!tokens_)
      throw Error(ErrorCode::weights, (info_.folder / "vocab.json").string(),
                  "expected the voice's table of letters, found none; is the model fetched in full?");
    return (*tokens_)(text);
  }

  std::vector<float> speak(const VoiceTokens& tokens, const SpeakOptions& options) const override {
    SpeakScales scales;
    scales.speed = options.speed;
    scales.noise = options.noise.value_or(model_.config.noise_scale);
    scales.noise_timing = options.noise_timing.value_or(model_.config.noise_scale_duration);
    scales.seed = options.seed;
    scales.speaker = static_cast<std::int32_t>(speaker_index(info_, options.speaker, 0));
    return run(tokens.ids, scales).waveform;
  }

  Spoken run(const std::vector<std::int64_t>& tokens, const SpeakScales& scales) const {
    if (tokens.empty()) return {};
    for (const std::int64_t id : tokens)
      if (id < 0 || id >= model_.config.vocab_size)
        throw Error(ErrorCode::weights, info_.folder.string(),
                    fmt::format("expected token ids below vocab_size {}, found {}", model_.config.vocab_size, id));
    const std::lock_guard<std::mutex> turn(mutex_);
    const auto n = tokens.size(), flow = static_cast<std::size_t>(model_.config.flow_size);
    Gaussian noise(scales.seed);
    tensor::Graph text(backend_, graph_size(), [&](GraphBuilder& g) { build_text(g, model_, static_cast<int>(n)); });
    set_speaker(text, scales);
    text.set("tokens", std::vector<std::int32_t>(tokens.begin(), tokens.end()));
    text.run();
    const std::vector<float> stats = text.get_f32("stats"), duration = text.get_f32("duration");
    const std::vector<float> logs = model_.config.use_stochastic_duration_prediction
                                        ? log_durations(duration, n, scales.noise_timing, noise)
                                        : duration;
    const std::vector<std::size_t> token_of = frames(logs, scales.speed);
    const std::size_t n_frames = token_of.size();
    std::vector<float> prior(flow * n_frames);
    for (std::size_t c = 0; c < flow; ++c)
      for (std::size_t t = 0; t < n_frames; ++t) {
        const std::size_t token = token_of[t];
        float value = stats[c * n + token];
        if (scales.noise > 0)
          value += noise() * std::exp(stats[(flow + c) * n + token]) * static_cast<float>(scales.noise);
        prior[c * n_frames + t] = value;
      }
    tensor::Graph speech(backend_, graph_size(),
                         [&](GraphBuilder& g) { build_speech(g, model_, static_cast<int>(n_frames)); });
    set_speaker(speech, scales);
    std::vector<std::int32_t> flip(flow);
    for (std::size_t i = 0; i < flow; ++i) flip[i] = static_cast<std::int32_t>(flow - 1 - i);
    speech.set("prior", prior);
    speech.set("flip", flip);
    speech.run();
    return {speech.get_f32("spectrogram"), speech.get_f32("waveform")};
  }

 private:
  std::size_t graph_size() const {
    const VitsConfig& c = model_.config;
    std::size_t n_dilations = 0;
    for (const auto& dilations : c.resblock_dilation_sizes) n_dilations += dilations.size();
    return 512 + 96 * static_cast<std::size_t>(c.num_hidden_layers + c.depth_separable_num_layers) +
           static_cast<std::size_t>(c.prior_encoder_num_flows) *
               (64 + 40 * static_cast<std::size_t>(c.prior_encoder_num_wavenet_layers)) +
           c.upsample_rates.size() * (32 + 24 * n_dilations);
  }
  void set_speaker(tensor::Graph& graph, const SpeakScales& scales) const {
    if (graph.has("speaker")) graph.set("speaker", std::vector<std::int32_t>{scales.speaker});
  }

  /// The stochastic predictor backwards: noise through its flows, each a spline whose shape the other half gives.
  std::vector<float> log_durations(const std::vector<float>& condition, std::size_t n, double scale,
                                   Gaussian& noise) const {
    std::vector<float> first(n), second(n);
    for (std::vector<float>* half : {&first, &second})
      for (float& value : *half) value = scale > 0 ? noise() * static_cast<float>(scale) : 0.0f;
    const tensor::SplineShape shape{model_.config.duration_predictor_flow_bins,
                                    model_.config.duration_predictor_tail_bound};
    const double over = std::sqrt(static_cast<double>(model_.config.hidden_size));
    for (int flow = model_.config.duration_predictor_num_flows; flow >= 2; --flow) {
      std::swap(first, second);
      tensor::Graph graph(backend_, graph_size(),
                          [&](GraphBuilder& g) { build_duration_flow(g, model_, static_cast<int>(n), flow); });
      graph.set("half", first);
      graph.set("condition", condition);
      graph.run();
      const std::vector<float> spline = graph.get_f32("spline");  // [n, 3 * bins - 1]
      std::vector<double> of_one(spline.size() / n);
      for (std::size_t t = 0; t < n; ++t) {
        for (std::size_t i = 0; i < of_one.size(); ++i) {
          const bool is_derivative = i >= 2 * static_cast<std::size_t>(shape.n_bins);
          of_one[i] = spline[i * n + t] / (is_derivative ? 1.0 : over);
        }
        second[t] = static_cast<float>(tensor::inverse_spline(shape, of_one, second[t]));
      }
    }
    std::swap(first, second);
    float translate = 0, log_scale = 0;
    ggml_backend_tensor_get(model_.weights->at("dp.translate"), &translate, 0, sizeof(float));
    ggml_backend_tensor_get(model_.weights->at("dp.log_scale"), &log_scale, 0, sizeof(float));
    for (float& value : first) value = (value - translate) * std::exp(-log_scale);
    return first;
  }

  /// Which token each frame speaks.
  std::vector<std::size_t> frames(const std::vector<float>& logs, double speed) const {
    std::vector<std::size_t> token_of;
    const double length = 1.0 / (model_.config.speaking_rate * speed);
    for (std::size_t token = 0; token < logs.size(); ++token) {
      const double n = std::ceil(std::exp(logs[token]) * static_cast<float>(length));
      if (!(n >= 0 && n + static_cast<double>(token_of.size()) <= kMostFrames))
        throw Error(ErrorCode::weights, info_.folder.string(),
                    fmt::format("expected an utterance of at most {} frames, the voice wants more; its weights are "
                                "damaged, or the text is no speech",
                                kMostFrames));
      token_of.insert(token_of.end(), static_cast<std::size_t>(n), token);
    }
    if (token_of.empty()) token_of.push_back(0);
    return token_of;
  }

  VoiceInfo info_;
  tensor::StoragePolicy policy_;
  VitsModel model_;
  std::optional<VitsTokens> tokens_;
  mutable std::mutex mutex_;  ///< one utterance at a time: graphs share the backend
  mutable tensor::Backend backend_;
};

// -------------------------------------------------------------------------------------------------------------- entry

bool recognise(const fs::path& folder) { return tensor::json_file_says(folder / "config.json", "model_type", "vits"); }

VoiceInfo describe(const fs::path& folder) {
  const VitsConfig config = VitsConfig::read(folder);
  const PublishedConfig tokenizer = PublishedConfig::read_if_there(folder / "tokenizer_config.json");
  VoiceInfo info;
  info.family = "vits";
  info.folder = folder;
  info.model_file = folder / "model.safetensors";
  info.rate_hz = config.sampling_rate;
  info.espeak_voice = tokenizer.flag({"phonemize"}, false) ? "en-us" : "";
  // MMS names languages by three letters; the normaliser has rules of its own for English only.
  const std::string language = tokenizer.text({"language"}, info.espeak_voice.empty() ? "" : "en");
  info.language = language == "eng" ? "en" : language;
  if (config.has_speakers())
    for (int i = 0; i < config.num_speakers; ++i) info.speakers.push_back(std::to_string(i));
  info.max_chars = 120;
  return info;
}

Estimate estimate(const VoiceInfo& info, std::uint64_t text_bytes) {
  const VitsConfig config = VitsConfig::read(info.folder);
  Estimate cost;
  cost.weights =
      tensor::weight_bytes(bind_vits(config, tensor::fold_weight_norm(tensor::Checkpoint::open(info.folder))),
                           tensor::StoragePolicy::stored());
  cost.weights_key = "vits|" + info.folder.string();
  // The widest place of the decoder: samples by channels, of which five are alive; a letter lasts about 0.08 s.
  const std::uint64_t n_chars = std::min<std::uint64_t>(text_bytes == 0 ? 60 : text_bytes, info.max_chars);
  const std::uint64_t n_samples = n_chars * static_cast<std::uint64_t>(config.sampling_rate) * 8 / 100;
  std::uint64_t widest = 0, divisor = 1;
  for (std::size_t i = config.upsample_rates.size(); i-- > 0;) {
    widest = std::max<std::uint64_t>(
        widest, (n_samples / divisor) * static_cast<std::uint64_t>(config.upsample_initial_channel >> (i + 1)));
    divisor *= static_cast<std::uint64_t>(config.upsample_rates[i]);
  }
  cost.scratch = 5 * 4 * widest;
  cost.longest_step_ms = 5000;
  return cost;
}

std::shared_ptr<const Voice> load(const VoiceInfo& info, const VoiceLoad& load) {
  std::error_code ignored;
  const fs::path whole = fs::weakly_canonical(info.folder, ignored);
  return load.models.get_as<Voice>(fmt::format("vits|{}|{}", whole.string(), load.device), [&] {
    return std::make_shared<const VitsVoice>(info, load.device, load.n_threads, tensor::StoragePolicy::stored());
  });
}

/// Golden inputs: input_ids [1, n]; outputs "spectrogram" and "waveform", made with noise scales of 0 (noise is never
/// drawn here). A folder without golden/ is verified as voices are, by what it says.
std::vector<VerifyRow> verify(const fs::path& folder, const std::string& device);

constexpr VoiceFamily kFamily{
    "vits", "config.json of model_type vits, model.safetensors, vocab.json", recognise, describe, estimate, load,
    verify};

std::vector<VerifyRow> verify(const fs::path& folder, const std::string& device) {
  std::error_code failed;
  if (!fs::exists(folder / "golden", failed)) return verify_voice(kFamily, folder, device);
  return tensor::both_ways([&](bool exact) {
    tensor::GoldenSet golden(folder);
    const VitsVoice voice(describe(folder), device, 1,
                          exact ? tensor::StoragePolicy::exact() : tensor::StoragePolicy::stored());
    SpeakScales scales;
    if (golden.has_input("speaker_id"))
      scales.speaker = static_cast<std::int32_t>(tensor::to_i64(golden.input("speaker_id")).at(0));
    std::optional<Spoken> spoken;
    const auto speak = [&]() -> const Spoken& {
      if (!spoken) spoken = voice.run(tensor::to_i64(golden.input("input_ids", 2)), scales);
      return *spoken;
    };
    const double tolerance = voice.policy().tolerance;
    golden.declare(
        "spectrogram", "flow", [&] { return speak().spectrogram; }, tolerance);
    golden.declare(
        "waveform", "decoder", [&] { return speak().waveform; }, tolerance);
    return golden.run(voice.policy().about());
  });
}

}  // namespace

void register_vits(Registry& registry) {
  registry.add_family(
      voice_family(kFamily, "VITS voices as Hugging Face publishes them (MMS-TTS, vits-ljs, vits-vctk)"));
}

}  // namespace morph::audio
