// text/chat: answers turns with a language model. One step is one decode over all its conversations, of any run.
#include <algorithm>
#include <deque>
#include <limits>
#include <mutex>
#include <utility>

#include "chat/chat_state.h"
#include "morph/error.h"
#include "morph/log.h"
#include "morph/registry.h"
#include "morph/text.h"
#include "morph/trunk.h"

namespace morph::text {
namespace {

constexpr int kMaxBatch = 8;
constexpr std::string_view kSystem = "You are a helpful AI assistant. Answer in one short sentence.";

/// Saved states of what conversations begin with, by system prompt. Each is decoded alone, once, so that it does not
/// matter who asked first. The oldest go when they take much memory. Thread-safe.
class Prefixes {
 public:
  using Bytes = std::shared_ptr<const std::vector<std::byte>>;

  /// Null when it is not known yet.
  Bytes find(const std::string& system) const {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, bytes] : held_)
      if (name == system) return bytes;
    return nullptr;
  }
  void add(const std::string& system, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    n_bytes_ += bytes->size();
    held_.emplace_back(system, std::move(bytes));
    while (held_.size() > 1 && n_bytes_ > kMostBytes) {
      n_bytes_ -= held_.front().second->size();
      held_.pop_front();
    }
  }

 private:
  static constexpr std::size_t kMostBytes = std::size_t{64} << 20;
  mutable std::mutex mutex_;
  std::deque<std::pair<std::string, Bytes>> held_;
  std::size_t n_bytes_ = 0;
};

class Chat final : public Stage {
 public:
  Chat(std::shared_ptr<const Trunk> trunk, const SessionOptions& session)
      : trunk_(std::move(trunk)), session_(trunk_->open_session(session)) {
    // Brings the weights into memory before the first question.
    const std::unique_ptr<Sequence> sequence = session_->open();
    DecodeItem item;
    item.sequence = sequence.get();
    item.tokens = trunk_->tokenise(kSystem, false, true);
    item.tokens.resize(std::min<std::size_t>(item.tokens.size(), 16));
    item.outputs = DecodeItem::Outputs::none;
    if (!item.tokens.empty()) session_->decode({&item, 1});
  }

  std::unique_ptr<StageState> open(const OpenContext& context) const override {
    const ChatOptions options = ChatOptions::of(context.params, context.strict);
    auto conversation = context.attachment<Conversation>("conversation");
    if (!conversation) conversation = std::make_shared<Conversation>();
    if (!conversation->take())
      throw Error(ErrorCode::config, "conversation", "another run works on this conversation; wait until it is over");
    auto state = [&] {
      try {
        conversation->bind(trunk_, session_, options.conversation());
        // A strict one decodes all of its prompt itself, as it would alone.
        if (!options.strict && conversation->messages().empty() && conversation->sequence().size() == 0)
          begin(*conversation, options);
        return std::make_unique<ChatState>(conversation, options, context);
      } catch (...) {  // an edge: it goes back to its owner
        conversation->release();
        throw;
      }
    }();
    return state;
  }

  void step(std::span<StepItem> batch) const override {
    std::vector<DecodeItem> items;
    std::vector<std::size_t> owners;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      DecodeItem item;
      batch[i].status = StepStatus::ready;
      bool decodes = false;
      attempt(batch[i], [&] { decodes = state_of(batch[i]).prepare(*batch[i].io, item, batch[i].status); });
      if (!decodes) continue;
      items.push_back(std::move(item));
      owners.push_back(i);
    }
    // One chunk of a prompt when others wait for a word of theirs; a few when there is nobody else.
    const int n_rounds = batch.size() == 1 ? kRoundsAlone : 1;
    for (int round = 0; round < n_rounds && !items.empty(); ++round) {
      if (round > 0 && (batch[0].io->should_yield() || batch[0].io->cancelled())) return;
      if (round > 0 && !state_of(batch[0]).more_prompt(items[0])) return;
      decode(batch, items, owners);
      for (std::size_t i = 0; i < items.size(); ++i) {
        StepItem& owner = batch[owners[i]];
        if (!owner.error) attempt(owner, [&] { state_of(owner).accept(*owner.io, items[i]); });
      }
      if (batch[0].error) return;
    }
  }

 private:
  static constexpr int kRoundsAlone = 4;

  /// Does `action` for one item; its failure is that item's alone.
  template <class Action>
  static void attempt(StepItem& item, const Action& action) {
    try {
      action();
    } catch (const Error& error) {
      item.fail(error);
    }
  }

  /// All items at once; one by one when that fails (a decode that failed left every sequence as it was).
  void decode(std::span<StepItem> batch, std::span<DecodeItem> items, const std::vector<std::size_t>& owners) const {
    if (items.size() > 1) {
      try {
        session_->decode(items);
        return;
      } catch (const Error& error) {
        log(LogLevel::debug, "text/chat", std::string("a batch is decoded one by one: ") + error.what());
      }
    }
    for (std::size_t i = 0; i < items.size(); ++i)
      attempt(batch[owners[i]], [&] { session_->decode(items.subspan(i, 1)); });
  }

  static ChatState& state_of(StepItem& item) { return static_cast<ChatState&>(*item.state); }

  /// Brings an empty conversation to the end of what every one with this system prompt begins with.
  void begin(Conversation& conversation, const ChatOptions& options) const {
    if (const Prefixes::Bytes known = prefixes_.find(options.system)) return conversation.sequence().restore(*known);
    const std::vector<Token> one = conversation.prompt("a"), other = conversation.prompt("Zu 1");
    const auto shared =
        static_cast<std::size_t>(std::mismatch(one.begin(), one.end(), other.begin(), other.end()).first - one.begin());
    for (std::size_t at = 0; at < shared; at += kPrefillChunk) {  // others decode in between
      DecodeItem item;
      item.sequence = &conversation.sequence();
      item.tokens.assign(one.begin() + static_cast<std::ptrdiff_t>(at),
                         one.begin() + static_cast<std::ptrdiff_t>(std::min(shared, at + kPrefillChunk)));
      item.outputs = DecodeItem::Outputs::none;
      session_->decode({&item, 1});
    }
    if (shared > 0)
      prefixes_.add(options.system, std::make_shared<const std::vector<std::byte>>(conversation.sequence().save()));
  }

  std::shared_ptr<const Trunk> trunk_;
  std::shared_ptr<TrunkSession> session_;
  mutable Prefixes prefixes_;
};

SessionOptions session_options(const Params& params, int n_threads) {
  SessionOptions session;
  session.n_ctx = static_cast<int>(params.get_int("n_ctx"));
  session.max_sequences = static_cast<int>(params.get_int("max_runs"));
  session.n_threads = n_threads;
  return session;
}

ParamSpec text_param(std::string name, std::string value, std::string help, std::vector<std::string> choices = {}) {
  return {.name = std::move(name),
          .type = ParamType::string,
          .default_value = std::move(value),
          .help = std::move(help),
          .choices = std::move(choices)};
}
ParamSpec whole_param(std::string name, std::int64_t value, std::string help, double min, double max) {
  return {.name = std::move(name),
          .type = ParamType::integer,
          .default_value = value,
          .help = std::move(help),
          .min = min,
          .max = max};
}
ParamSpec real_param(std::string name, double value, std::string help, double min, double max) {
  return {.name = std::move(name),
          .type = ParamType::number,
          .default_value = value,
          .help = std::move(help),
          .min = min,
          .max = max};
}
ParamSpec switch_param(std::string name, bool value, std::string help) {
  return {.name = std::move(name), .type = ParamType::boolean, .default_value = value, .help = std::move(help)};
}

/// What belongs to a run; most of it can change from one answer to the next.
std::vector<ParamSpec> run_params() {
  std::vector<ParamSpec> params{
      text_param("system", std::string(kSystem), "what the model is told to be"),
      whole_param("max_tokens", 256, "an answer is cut after this many tokens", 1, 1 << 20),
      real_param("temperature", 0.0, "0: always the likeliest word; higher: more varied", 0, 10),
      whole_param("top_k", 40, "draw among this many tokens; 0: all", 0, 1 << 20),
      real_param("top_p", 0.95, "draw among the likeliest that make up this probability", 0, 1),
      real_param("min_p", 0.05, "leave out what is less likely than this share of the likeliest", 0, 1),
      real_param("repeat_penalty", 1.1, "above 1: avoids repeating words", 0.1, 10),
      whole_param("seed", 0, "for temperatures above 0; added to the run's seed", 0,
                  std::numeric_limits<std::uint32_t>::max()),
      switch_param("history", true, "later turns of a run know the earlier ones"),
      switch_param("speculate", true, "prepare an answer at a pause, before the turn is known to be over"),
      switch_param("strict", false, "same answer whatever runs beside and however packets arrive; slower"),
      text_param("overflow", "drop_oldest", "when the conversation outgrows n_ctx: forget the oldest turns, or fail",
                 {"drop_oldest", "error"})};
  for (ParamSpec& param : params) {
    param.scope = ParamScope::run;
    param.changeable = param.name != "strict";
  }
  return params;
}

std::vector<ParamSpec> chat_params() {
  std::vector<ParamSpec> params{
      text_param("model", "smollm2-135m-instruct", "language model: a name in the models folder, or a GGUF file"),
      whole_param("n_ctx", 2048, "tokens of conversation the model can look back on", 64, 1 << 24),
      whole_param("max_runs", 64, "most conversations open at once", 1, 256)};
  for (ParamSpec& param : run_params()) params.push_back(std::move(param));
  return params;
}

}  // namespace

void register_chat(Registry& registry) {
  StageSpec spec;
  spec.name = "text/chat";
  spec.help = "Answers turns of a conversation with a language model, as the words come.";
  spec.inputs = {{"turns",
                  {FormatPattern{"text/turns", {}}, FormatPattern{"text/plain", {}}},
                  "what was said or typed; every text is a turn",
                  false}};
  spec.outputs = {{"text", {FormatPattern{"text/plain", {}}}, "the answers, in pieces", false}};
  spec.params = chat_params();
  spec.load = StageLoad::heavy;
  spec.max_batch = kMaxBatch;
  spec.checkpointable = true;
  spec.devices = {"cpu", "cuda", "vulkan"};
  spec.validate = [](const Params& params, std::vector<Diagnostic>& found) {
    if (params.get_int("max_tokens") >= params.get_int("n_ctx"))
      found.push_back({Diagnostic::Severity::error, ErrorCode::config, "max_tokens",
                       "expected less than n_ctx (" + std::to_string(params.get_int("n_ctx")) + "), found " +
                           std::to_string(params.get_int("max_tokens"))});
  };
  spec.estimate = [](const ResolveContext& context) {
    const TrunkOptions trunk{context.find_model(context.params.get_string("model")), context.device, {}};
    const SessionOptions session = session_options(context.params, 1);
    // How long the prompt is: a written one by its size (a token has some four bytes; the template adds 64), a spoken
    // one is about 128 tokens. On a device all that is reserved is taken.
    const std::uint64_t n_prompt = context.source_bytes == 0 ? 128 : context.source_bytes / 4 + 64;
    Estimate estimate = estimate_trunk(
        trunk, session, context.device == "cpu" ? n_prompt : static_cast<std::uint64_t>(session.n_batch));
    estimate.longest_step_ms = 250.0;
    estimate.packet_bytes = sizeof(Text) + 16;
    return estimate;
  };
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const Params& params = context.params;
    TrunkOptions options{context.find_model(params.get_string("model")), context.device,
                         [&](double fraction) { context.progress(fraction, "language model"); }};
    auto trunk = context.models.get_as<Trunk>(trunk_key(options), [&] { return load_trunk(options); });
    if (!trunk->info().has_template)
      throw Error(ErrorCode::weights, context.where,
                  "expected a model with a chat template, found none in " + trunk->info().file.string() +
                      "; choose an instruction-tuned model");
    SessionOptions session = session_options(params, context.n_threads);
    session.memory = context.memory;
    return std::make_shared<const Chat>(std::move(trunk), session);
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::text
