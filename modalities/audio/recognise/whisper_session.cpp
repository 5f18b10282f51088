// Graphs are reused: an encoder per window length, a decoder per (new tokens, looked-at cache rows) where the latter
// grows in steps, so that a whole text needs a handful of graphs.
#include "recognise/whisper_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "morph/error.h"

namespace morph::audio {
namespace {

constexpr int kCacheStep = 64;           // rows of the self-attention cache are looked at in multiples of this
constexpr int kSpareRows = 128;          // of that cache, for texts that are followed side by side
constexpr std::size_t kMaxEncoders = 3;  // graphs of other window lengths are dropped
constexpr std::size_t kMaxDecoders = 24;
constexpr std::size_t kNodesPerLayer = 64;

int rounded_up(int n, int step) { return (n + step - 1) / step * step; }

}  // namespace

WhisperSession::WhisperSession(std::shared_ptr<const WhisperModel> model, const Options& options)
    : model_(std::move(model)),
      options_(options),
      backend_(model_->device, options.n_threads),
      self_(backend_, model_->config.decoder_layers, model_->config.d_model, cache_rows(model_->config),
            options.exact ? GGML_TYPE_F32 : GGML_TYPE_F16),
      cross_(backend_, model_->config.decoder_layers, model_->config.d_model, model_->config.max_source_positions,
             options.exact ? GGML_TYPE_F32 : GGML_TYPE_F16) {}

tensor::Graph& WhisperSession::encoder_graph(int n_ctx) {
  std::unique_ptr<tensor::Graph>& slot = encoders_[n_ctx];
  if (!slot) {
    const std::size_t blocks = 12 * static_cast<std::size_t>(n_ctx / 128 + 1);
    const std::size_t nodes = 256 + (kNodesPerLayer + blocks) * static_cast<std::size_t>(model_->config.encoder_layers +
                                                                                         model_->config.decoder_layers);
    if (encoders_.size() > kMaxEncoders) {
      encoders_.clear();
      return encoder_graph(n_ctx);
    }
    slot = std::make_unique<tensor::Graph>(backend_, nodes, [&](tensor::GraphBuilder& g) {
      build_whisper_encoder(g, *model_, cross_, n_ctx, options_.keep_states);
    });
  }
  return *slot;
}

tensor::Graph& WhisperSession::decoder_graph(const WhisperDecoderShape& shape) {
  if (decoders_.size() > kMaxDecoders) decoders_.clear();
  std::unique_ptr<tensor::Graph>& slot = decoders_[shape];
  if (!slot) {
    const std::size_t nodes = 128 + kNodesPerLayer * static_cast<std::size_t>(model_->config.decoder_layers);
    slot = std::make_unique<tensor::Graph>(
        backend_, nodes, [&](tensor::GraphBuilder& g) { build_whisper_decoder(g, *model_, self_, cross_, shape); });
  }
  return *slot;
}

void WhisperSession::encode(std::span<const float> mel, int n_ctx) {
  const WhisperConfig& config = model_->config;
  if (n_ctx <= 0 || n_ctx > config.max_source_positions ||
      mel.size() != 2 * static_cast<std::size_t>(n_ctx) * static_cast<std::size_t>(config.num_mel_bins))
    throw Error(ErrorCode::internal, "hearing/whisper",
                fmt::format("expected {} mel values for a window of {} positions (at most {}), found {}",
                            2 * n_ctx * config.num_mel_bins, n_ctx, config.max_source_positions, mel.size()));
  tensor::Graph& graph = encoder_graph(n_ctx);
  graph.set("mel", mel);
  graph.run();
  n_audio_ = n_ctx;
}

std::vector<float> WhisperSession::state(const std::string& name) const {
  const auto found = encoders_.find(n_audio_);
  if (found == encoders_.end() || !found->second->has(name)) return {};
  return found->second->get_f32(name);
}

int WhisperSession::cache_rows(const WhisperConfig& config) {
  return rounded_up(config.max_target_positions + kSpareRows, kCacheStep);
}

void WhisperSession::check_tokens(int n_past, int n, std::span<const int> tokens) const {
  const WhisperConfig& config = model_->config;
  if (tokens.empty() || n_past < 0 || n_past + n > config.max_target_positions || n_audio_ == 0)
    throw Error(ErrorCode::internal, "hearing/whisper",
                fmt::format("expected 1 to {} tokens after {} and an encoded window, found {}",
                            config.max_target_positions - n_past, n_past, n));
  for (const int token : tokens)
    if (token < 0 || token >= config.vocab_size)
      throw Error(ErrorCode::internal, "hearing/whisper",
                  fmt::format("expected token ids below {}, found {}", config.vocab_size, token));
}

std::span<const float> WhisperSession::run_decoder(const WhisperDecoderShape& shape, std::span<const int> tokens,
                                                   std::span<const std::int32_t> positions,
                                                   std::span<const std::int64_t> rows, std::span<const int> outputs) {
  tensor::Graph& graph = decoder_graph(shape);
  graph.set("tokens", tokens);
  graph.set("positions", positions);
  graph.set("rows", rows);
  graph.set("mask", mask_);
  graph.set("outputs", outputs);
  graph.run();
  logits_.resize(static_cast<std::size_t>(model_->config.vocab_size) * outputs.size());
  graph.get_f32("logits", logits_);
  return logits_;
}

std::span<const float> WhisperSession::decode(std::span<const int> tokens, int n_past, std::span<const int> outputs) {
  const int n = static_cast<int>(tokens.size());
  check_tokens(n_past, n, tokens);
  const WhisperDecoderShape shape{
      n, static_cast<int>(std::min<std::int64_t>(self_.n_ctx(), rounded_up(n_past + n, kCacheStep))), n_audio_,
      static_cast<int>(outputs.size())};
  std::vector<std::int32_t> positions(tokens.size());
  std::vector<std::int64_t> rows(tokens.size());
  mask_.assign(static_cast<std::size_t>(shape.n_kv) * tokens.size(), ggml_fp32_to_fp16(-INFINITY));
  for (int i = 0; i < n; ++i) {
    positions[static_cast<std::size_t>(i)] = n_past + i;
    rows[static_cast<std::size_t>(i)] = n_past + i;
    std::fill_n(mask_.begin() + static_cast<std::ptrdiff_t>(i) * shape.n_kv, n_past + i + 1, ggml_fp32_to_fp16(0.0f));
  }
  return run_decoder(shape, tokens, positions, rows, outputs);
}

std::span<const float> WhisperSession::decode_branches(std::span<const WhisperBranch> branches, int n_prompt) {
  const std::size_t n = branches.size();
  std::vector<int> tokens(n), outputs(n);
  std::vector<std::int32_t> positions(n);
  std::vector<std::int64_t> rows(n);
  int last_row = n_prompt - 1, last_position = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const WhisperBranch& branch = branches[i];
    if (branch.rows.empty())
      throw Error(ErrorCode::internal, "hearing/whisper", "expected a row for each branch, found none");
    tokens[i] = branch.token;
    outputs[i] = static_cast<int>(i);
    positions[i] = branch.position;
    rows[i] = branch.rows.back();
    last_position = std::max(last_position, branch.position);
    for (const int row : branch.rows) {
      if (row < n_prompt || row >= cache_rows())
        throw Error(ErrorCode::internal, "hearing/whisper",
                    fmt::format("expected rows {} to {}, found {}", n_prompt, cache_rows() - 1, row));
      last_row = std::max(last_row, row);
    }
  }
  check_tokens(last_position, 1, tokens);
  const WhisperDecoderShape shape{static_cast<int>(n), rounded_up(last_row + 1, kCacheStep), n_audio_,
                                  static_cast<int>(n)};
  mask_.assign(static_cast<std::size_t>(shape.n_kv) * n, ggml_fp32_to_fp16(-INFINITY));
  for (std::size_t i = 0; i < n; ++i) {
    const std::span<ggml_fp16_t> seen =
        std::span(mask_).subspan(i * static_cast<std::size_t>(shape.n_kv), static_cast<std::size_t>(shape.n_kv));
    std::fill_n(seen.begin(), n_prompt, ggml_fp32_to_fp16(0.0f));
    for (const int row : branches[i].rows) seen[static_cast<std::size_t>(row)] = ggml_fp32_to_fp16(0.0f);
  }
  return run_decoder(shape, tokens, positions, rows, outputs);
}

std::span<const float> WhisperSession::decode_next(int token, int n_past) {
  const int last = 0;
  return decode({&token, 1}, n_past, {&last, 1});
}

std::size_t WhisperSession::bytes() const {
  std::size_t bytes = self_.bytes() + cross_.bytes();
  for (const auto& [n, graph] : encoders_) bytes += graph->scratch_bytes();
  for (const auto& [shape, graph] : decoders_) bytes += graph->scratch_bytes();
  return bytes;
}

}  // namespace morph::audio
