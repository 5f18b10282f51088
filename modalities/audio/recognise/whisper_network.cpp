// Graphs are reused: an encoder per window length, a decoder per shape, where new tokens, looked-at rows and slots grow
// in steps, so that whole texts need a handful of graphs. Slots of a run that have nothing to feed, and tokens that
// fill up a shape, write to and look at a row of their slot that belongs to no text (row 0; a text's rows lie one
// higher).
#include "recognise/whisper_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "morph/error.h"

namespace morph::audio {
namespace {

constexpr int kCacheStep = 64;           // rows of a text are looked at in multiples of this
constexpr int kSpareRows = 128;          // for texts that are followed side by side
constexpr std::size_t kMaxEncoders = 3;  // graphs of other window lengths are dropped
constexpr std::size_t kMaxDecoders = 48;
constexpr std::size_t kNodesPerLayer = 80;

int rounded_up(int n, int step) { return (n + step - 1) / step * step; }
int power_of_two(int n) {
  int power = 1;
  while (power < n) power *= 2;
  return power;
}
/// New tokens of a slot as graphs are made for.
int padded_tokens(int n) { return n <= 8 ? power_of_two(n) : rounded_up(n, 16); }

}  // namespace

int WhisperNetwork::text_rows(const WhisperConfig& config) {
  return rounded_up(config.max_target_positions + kSpareRows + 1, kCacheStep) - 1;
}

WhisperNetwork::WhisperNetwork(std::shared_ptr<const WhisperModel> model, const Options& options)
    : model_(std::move(model)),
      options_(options),
      backend_(model_->device, options.n_threads),
      caches_(backend_, model_->config, options.n_slots, text_rows(model_->config) + 1,
              options.exact ? GGML_TYPE_F32 : GGML_TYPE_F16),
      n_audio_(static_cast<std::size_t>(options.n_slots), 0) {}

tensor::Graph& WhisperNetwork::encoder_graph(int n_ctx) {
  if (encoders_.size() > kMaxEncoders && !encoders_.contains(n_ctx)) encoders_.clear();
  std::unique_ptr<tensor::Graph>& slot = encoders_[n_ctx];
  if (!slot) {
    const std::size_t blocks = 12 * static_cast<std::size_t>(n_ctx / 128 + 1);
    const std::size_t nodes = 256 + (kNodesPerLayer + blocks) * static_cast<std::size_t>(model_->config.encoder_layers +
                                                                                         model_->config.decoder_layers);
    slot = std::make_unique<tensor::Graph>(backend_, nodes, [&](tensor::GraphBuilder& g) {
      build_whisper_encoder(g, *model_, caches_, n_ctx, options_.keep_states);
    });
  }
  return *slot;
}

tensor::Graph& WhisperNetwork::decoder_graph(const WhisperDecoderShape& shape) {
  if (decoders_.size() > kMaxDecoders) decoders_.clear();
  std::unique_ptr<tensor::Graph>& slot = decoders_[shape];
  if (!slot) {
    const WhisperConfig& config = model_->config;
    const std::size_t nodes =
        128 + kNodesPerLayer * static_cast<std::size_t>(config.decoder_layers) + 8 * config.alignment_heads.size();
    slot = std::make_unique<tensor::Graph>(
        backend_, nodes, [&](tensor::GraphBuilder& g) { build_whisper_decoder(g, *model_, caches_, shape); });
  }
  return *slot;
}

void WhisperNetwork::encode(int slot, std::span<const float> mel, int n_ctx) {
  const WhisperConfig& config = model_->config;
  if (slot < 0 || slot >= n_slots() || n_ctx <= 0 || n_ctx > config.max_source_positions ||
      mel.size() != 2 * static_cast<std::size_t>(n_ctx) * static_cast<std::size_t>(config.num_mel_bins))
    throw Error(ErrorCode::internal, "hearing/whisper",
                fmt::format("expected {} mel values for a window of {} positions (at most {}), found {}",
                            2 * n_ctx * config.num_mel_bins, n_ctx, config.max_source_positions, mel.size()));
  tensor::Graph& graph = encoder_graph(n_ctx);
  std::vector<std::int64_t> rows(static_cast<std::size_t>(n_ctx) * static_cast<std::size_t>(caches_.n_head));
  for (int head = 0; head < caches_.n_head; ++head)
    for (int i = 0; i < n_ctx; ++i)
      rows[static_cast<std::size_t>(head * n_ctx + i)] =
          static_cast<std::int64_t>(slot * caches_.n_head + head) * caches_.n_positions + i;
  graph.set("mel", mel);
  graph.set("cross_rows", rows);
  graph.run();
  n_audio_[static_cast<std::size_t>(slot)] = last_encoded_ = n_ctx;
}

std::vector<float> WhisperNetwork::state(const std::string& name) const {
  const auto found = encoders_.find(last_encoded_);
  if (found == encoders_.end() || !found->second->has(name)) return {};
  return found->second->get_f32(name);
}

void WhisperNetwork::check(const Feeding& feeding) const {
  const WhisperConfig& config = model_->config;
  const FeedRequest& request = *feeding.request;
  const std::size_t n = request.tokens.size();
  const auto demand = [](bool good, const std::string& what) {
    if (!good) throw Error(ErrorCode::internal, "hearing/whisper", "expected " + what);
  };
  demand(feeding.slot >= 0 && feeding.slot < n_slots() && n_audio(feeding.slot) > 0, "an encoded window, found none");
  demand(n > 0 && request.positions.size() == n && request.rows.size() == n && request.seen.size() == n,
         "a position, a row and what it sees for each token, found others");
  for (std::size_t i = 0; i < n; ++i) {
    demand(request.tokens[i] >= 0 && request.tokens[i] < config.vocab_size,
           fmt::format("token ids below {}, found {}", config.vocab_size, request.tokens[i]));
    demand(request.positions[i] >= 0 && request.positions[i] < config.max_target_positions,
           fmt::format("positions below {}, found {}", config.max_target_positions, request.positions[i]));
    demand(!request.seen[i].empty() && request.seen[i].back() == request.rows[i], "a token to see its own row");
    for (const int row : request.seen[i])
      demand(row >= request.n_prefix && row < text_rows(),
             fmt::format("rows {} to {}, found {}", request.n_prefix, text_rows() - 1, row));
  }
  for (const int output : request.outputs)
    demand(output >= 0 && output < static_cast<int>(n), "outputs among the tokens, found others");
}

void WhisperNetwork::fill(tensor::Graph& graph, const WhisperDecoderShape& shape, std::span<const Feeding> feedings,
                          const std::vector<std::size_t>& members) {
  const auto n_tokens = static_cast<std::size_t>(shape.n_tokens), n_kv = static_cast<std::size_t>(shape.n_kv);
  const std::size_t n = n_tokens * static_cast<std::size_t>(shape.n_slots);
  const ggml_fp16_t open = ggml_fp32_to_fp16(0.0f), shut = ggml_fp32_to_fp16(-INFINITY);
  std::vector<std::int32_t> tokens(n, 0), positions(n, 0);
  std::vector<std::int64_t> rows(n);
  std::vector<ggml_fp16_t> mask(n * n_kv, shut);
  for (std::size_t i = 0; i < n; ++i) {
    rows[i] = (static_cast<std::int64_t>(i / n_tokens) + shape.first_slot) * caches_.n_rows;
    mask[i * n_kv] = open;
  }
  std::vector<ggml_fp16_t> audio_mask;
  const auto n_audio = static_cast<std::size_t>(shape.n_audio);
  if (shape.mask_audio) audio_mask.assign(n * n_audio, open);
  for (const std::size_t member : members) {
    const FeedRequest& request = *feedings[member].request;
    const std::size_t at = static_cast<std::size_t>(feedings[member].slot - shape.first_slot) * n_tokens;
    for (std::size_t i = 0; i < request.tokens.size(); ++i) {
      tokens[at + i] = request.tokens[i];
      positions[at + i] = request.positions[i];
      rows[at + i] += request.rows[i] + 1;
      ggml_fp16_t* seen = mask.data() + (at + i) * n_kv;
      seen[0] = shut;
      std::fill_n(seen + 1, request.n_prefix, open);
      for (const int row : request.seen[i]) seen[row + 1] = open;
    }
    const auto heard = static_cast<std::size_t>(n_audio_[static_cast<std::size_t>(feedings[member].slot)]);
    if (shape.mask_audio)
      for (std::size_t i = 0; i < n_tokens; ++i)
        std::fill(audio_mask.begin() + static_cast<std::ptrdiff_t>((at + i) * n_audio + heard),
                  audio_mask.begin() + static_cast<std::ptrdiff_t>((at + i + 1) * n_audio), shut);
  }
  graph.set("tokens", tokens);
  graph.set("positions", positions);
  graph.set("rows", rows);
  graph.set("mask", mask);
  if (shape.mask_audio) graph.set("audio_mask", audio_mask);
}

void WhisperNetwork::run_range(std::span<const Feeding> feedings, const std::vector<std::size_t>& members, int first,
                               int n, int n_tokens,
                               const std::function<void(std::size_t, std::span<const float>)>& deliver) {
  WhisperDecoderShape shape{first, n, n_tokens, 0, 0, false, 0};
  std::vector<std::int32_t> outputs;
  int top_row = 0, least_audio = model_->config.max_source_positions;
  for (const std::size_t member : members) {
    const auto& [slot, request] = feedings[member];
    for (const std::vector<int>& seen : request->seen)
      top_row = std::max(top_row, *std::max_element(seen.begin(), seen.end()));
    shape.n_audio = std::max(shape.n_audio, n_audio(slot));
    least_audio = std::min(least_audio, n_audio(slot));
    for (const int output : request->outputs) outputs.push_back((slot - first) * n_tokens + output);
  }
  shape.mask_audio = least_audio < shape.n_audio;
  shape.n_kv = rounded_up(top_row + 2, kCacheStep);
  shape.n_outputs = power_of_two(static_cast<int>(outputs.size()));
  outputs.resize(static_cast<std::size_t>(shape.n_outputs), 0);
  tensor::Graph& graph = decoder_graph(shape);
  fill(graph, shape, feedings, members);
  graph.set("outputs", outputs);
  graph.run();
  const auto n_vocab = static_cast<std::size_t>(model_->config.vocab_size);
  logits_.resize(n_vocab * outputs.size());
  graph.get_f32("logits", logits_);
  std::size_t at = 0;
  for (const std::size_t member : members) {
    const std::size_t n_values = n_vocab * feedings[member].request->outputs.size();
    const std::size_t begin = std::exchange(at, at + n_values);
    deliver(member, std::span<const float>(logits_).subspan(begin, n_values));
  }
}

void WhisperNetwork::run(std::span<const Feeding> feedings, bool each_alone,
                         const std::function<void(std::size_t, std::span<const float>)>& deliver) {
  std::map<int, std::vector<std::size_t>> by_tokens;
  for (std::size_t i = 0; i < feedings.size(); ++i) {
    check(feedings[i]);
    by_tokens[padded_tokens(static_cast<int>(feedings[i].request->tokens.size()))].push_back(i);
  }
  for (auto& [n_tokens, members] : by_tokens) {
    std::sort(members.begin(), members.end(),
              [&](std::size_t a, std::size_t b) { return feedings[a].slot < feedings[b].slot; });
    int low = feedings[members.front()].slot, n = 1;
    const int high = feedings[members.back()].slot;
    while (low / n * n + n <= high) n *= 2;
    low = low / n * n;
    n = std::min(n, n_slots() - low);
    // Idle slots cost as much as busy ones: a run for a few of many is dearer than one for each.
    if (!each_alone && 2 * static_cast<int>(members.size()) >= n) {
      run_range(feedings, members, low, n, n_tokens, deliver);
      continue;
    }
    for (const std::size_t member : members) run_range(feedings, {member}, feedings[member].slot, 1, n_tokens, deliver);
  }
}

std::span<const float> WhisperNetwork::feed(int slot, const FeedRequest& request) {
  std::span<const float> found;
  const Feeding one{slot, &request};
  run({&one, 1}, true, [&](std::size_t, std::span<const float> logits) { found = logits; });
  return found;
}

std::vector<float> WhisperNetwork::alignment_scores(int slot, std::span<const int> tokens) {
  const FeedRequest request = FeedRequest::in_a_row({tokens.begin(), tokens.end()}, 0);
  const Feeding one{slot, &request};
  check(one);
  const int n = static_cast<int>(tokens.size()), padded = rounded_up(n, 16), n_frames = n_audio(slot);
  const WhisperDecoderShape shape{slot, 1, padded, rounded_up(n + 1, kCacheStep), n_frames, false, 0};
  tensor::Graph& graph = decoder_graph(shape);
  fill(graph, shape, {&one, 1}, {0});
  graph.run();
  const std::vector<float> all = graph.get_f32("scores");
  const std::size_t n_heads = model_->config.alignment_heads.size(), row = static_cast<std::size_t>(n_frames);
  std::vector<float> scores;
  scores.reserve(n_heads * static_cast<std::size_t>(n) * row);
  for (std::size_t head = 0; head < n_heads; ++head) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(head * static_cast<std::size_t>(padded) * row);
    scores.insert(scores.end(), begin, begin + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(n) * row));
  }
  return scores;
}

std::size_t WhisperNetwork::bytes() const {
  std::size_t bytes = caches_.bytes();
  for (const auto& [n, graph] : encoders_) bytes += graph->scratch_bytes();
  for (const auto& [shape, graph] : decoders_) bytes += graph->scratch_bytes();
  return bytes;
}

}  // namespace morph::audio
