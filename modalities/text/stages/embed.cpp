// text/embed: each text becomes one vector. Texts of one run and of several are computed together.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <utility>

#include "embed/embedder.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/text.h"

namespace morph::text {
namespace {

constexpr std::size_t kMostTogether = 16;  ///< texts of one step, over all runs

struct Vector {
  std::vector<float> values;
  Packet of;  ///< the text's packet: its times, what it supersedes
};

struct EmbedState final : StageState {
  std::deque<Vector> made;
  void flush(std::uint64_t epoch) override {
    std::erase_if(made, [&](const Vector& vector) { return vector.of.epoch < epoch; });
  }
};

void send(StageIo& io, const Vector& vector) {
  auto tensor = std::make_shared<TensorPayload>();
  tensor->type = TensorPayload::Type::f32;
  tensor->shape = {static_cast<std::int64_t>(vector.values.size())};
  tensor->data.resize(vector.values.size() * sizeof(float));
  std::memcpy(tensor->data.data(), vector.values.data(), tensor->data.size());
  Packet packet =
      Packet::data(std::shared_ptr<const TensorPayload>(std::move(tensor)), vector.of.time, vector.of.duration);
  packet.epoch = vector.of.epoch;
  io.push(0, std::move(packet));
}

class Embed final : public Stage {
 public:
  explicit Embed(std::shared_ptr<const Embedder> embedder) : embedder_(std::move(embedder)) {}

  std::unique_ptr<StageState> open(const OpenContext&) const override { return std::make_unique<EmbedState>(); }

  void step(std::span<StepItem> batch) const override {
    std::vector<std::vector<int>> sequences;
    std::vector<std::pair<EmbedState*, Packet>> of;
    const std::size_t share = std::max<std::size_t>(1, kMostTogether / batch.size());
    for (StepItem& item : batch) {
      StageIo& io = *item.io;
      auto& state = static_cast<EmbedState&>(*item.state);
      for (std::size_t n = 0; n < share && io.available(0) > 0; ++n) {
        Packet packet = io.take(0);
        const Text& text = packet.as<Text>();
        if (text.turn_state != TurnState::final) continue;
        Encoded encoded = embedder_->tokens(text.utf8);
        if (encoded.n_cut > 0) {
          io.metric("texts_cut", 1);
          io.metric("tokens_cut", static_cast<double>(encoded.n_cut));
        }
        io.metric("texts", 1);
        sequences.push_back(std::move(encoded.ids));
        packet.payload = nullptr;
        of.emplace_back(&state, std::move(packet));
      }
    }
    if (!sequences.empty()) {
      std::vector<std::vector<float>> vectors = embedder_->embed(sequences);
      for (std::size_t i = 0; i < of.size(); ++i)
        of[i].first->made.push_back({std::move(vectors[i]), std::move(of[i].second)});
    }
    for (StepItem& item : batch) item.status = deliver(static_cast<EmbedState&>(*item.state), *item.io);
  }

 private:
  static StepStatus deliver(EmbedState& state, StageIo& io) {
    while (!state.made.empty() && io.space(0) > 0) {
      send(io, state.made.front());
      state.made.pop_front();
    }
    if (!state.made.empty()) return StepStatus::output_full;
    if (io.available(0) > 0) return StepStatus::ready;
    return io.ended(0) ? StepStatus::done : StepStatus::need_input;
  }

  std::shared_ptr<const Embedder> embedder_;
};

FamilyUse use_of(const Params& params, const std::string& device, int n_threads) {
  FamilyUse use;
  use.device = device;
  use.n_threads = n_threads;
  use.exact = params.get_string("precision") == "exact";
  return use;
}

}  // namespace

void register_embed(Registry& registry) {
  StageSpec spec;
  spec.name = "text/embed";
  spec.help = "Turns each text into a vector; texts of like meaning lie close.";
  spec.inputs = {{"text", {{"text/plain", {}}}, "texts, each by itself"}};
  spec.outputs = {{"embedding", {{"tensor", {}}}, "a vector for each text, F32"}};
  spec.params = {{.name = "model",
                  .type = ParamType::path,
                  .default_value = std::string("all-minilm-l6-v2"),
                  .help = "sentence embedder by name or folder (BERT with its pooling, as published)"},
                 {.name = "precision",
                  .type = ParamType::string,
                  .default_value = std::string("stored"),
                  .help = "stored: weights as the file holds them; exact: all in 32 bits",
                  .choices = {"stored", "exact"}}};
  spec.load = StageLoad::heavy;
  spec.max_batch = static_cast<int>(kMostTogether);
  spec.devices = {"cpu", "cuda", "vulkan"};
  const std::shared_ptr<const Families> families = registry.part<Families>();
  spec.estimate = [families](const ResolveContext& context) {
    const std::filesystem::path folder = context.find_model(context.params.get_string("model"));
    return families->find(kEmbedderJob, folder)
        .estimate(folder, use_of(context.params, context.device, context.n_threads));
  };
  spec.create = [families](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const std::filesystem::path folder = context.find_model(context.params.get_string("model"));
    return std::make_shared<const Embed>(
        families->create<Embedder>(kEmbedderJob, folder, use_of(context.params, context.device, context.n_threads),
                                   context.models, [&](double done) { context.progress(done, "embedder"); }));
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::text
