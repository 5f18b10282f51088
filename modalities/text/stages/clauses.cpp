// text/clauses: a streamed answer, cut into clauses for a voice.
#include <algorithm>
#include <optional>

#include "exec/wire.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/text.h"
#include "normalise/clause_splitter.h"

namespace morph::text {
namespace {

struct ClausesState final : StageState {
  explicit ClausesState(const ClauseOptions& options) : splitter(options) {}
  ClauseSplitter splitter;
  bool open = false;                       ///< an answer has begun and not ended
  std::uint64_t epoch = 0;                 ///< of the answer
  std::uint64_t first_in = 0;              ///< sequence of the answer's first packet ...
  std::optional<std::uint64_t> first_out;  ///< ... and of the first one made of it
  std::optional<std::uint64_t> revises;    ///< the next packet supersedes what was sent since

  void forget() {
    splitter.clear();
    open = false;
  }
  void flush(std::uint64_t before) override {
    if (open && epoch < before) forget();
  }
  std::vector<std::byte> save() const override {
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    splitter.save(writer);
    writer.boolean(open);
    writer.u64(epoch);
    writer.u64(first_in);
    writer.optional(first_out);
    writer.optional(revises);
    return saved;
  }
  void restore(std::span<const std::byte> saved) override {
    wire::Reader reader(saved, "text/clauses");
    splitter.restore(reader);
    open = reader.boolean();
    epoch = reader.u64();
    first_in = reader.u64();
    first_out = reader.optional();
    revises = reader.optional();
    reader.expect_end();
  }
};

class Clauses final : public SimpleStage<ClausesState> {
 public:
  explicit Clauses(const ClauseOptions& options) : options_(options) {}
  std::unique_ptr<StageState> open(const OpenContext&) const override {
    return std::make_unique<ClausesState>(options_);
  }

  StepStatus step_one(ClausesState& state, StageIo& io) const override {
    while (io.available(0) > 0) {
      if (io.space(0) == 0) return StepStatus::output_full;
      accept(state, io, io.take(0));
    }
    if (!io.ended(0)) return StepStatus::need_input;
    if (state.open) send(state, io, Packet{}, Text{}, true);
    return StepStatus::done;
  }

 private:
  static void accept(ClausesState& state, StageIo& io, const Packet& packet) {
    const Text& text = packet.as<Text>();
    if (text.turn_state != TurnState::final) return;  // a turn that is still spoken is not an answer
    if (packet.kind == PacketKind::revise && packet.since <= state.first_in) {
      if (!state.revises) state.revises = state.first_out;
      state.forget();
    }
    const bool piece = text.answer_end > 0 || text.last_of_answer;
    if (!state.open) {
      state.open = true;
      state.first_out.reset();
      state.first_in = packet.sequence;
      state.splitter.clear();
    }
    state.epoch = packet.epoch;
    state.splitter.add(text.utf8);
    send(state, io, packet, text, text.last_of_answer || !piece);
  }

  static void send(ClausesState& state, StageIo& io, const Packet& packet, const Text& source, bool whole) {
    std::optional<std::string> next = state.splitter.take(whole);
    while (next) {
      const std::size_t end = state.splitter.taken();
      std::optional<std::string> after = state.splitter.take(whole);
      push(state, io, packet, source, std::move(*next), end, whole && !after);
      next = std::move(after);
      if (whole && !next) state.forget();
    }
    if (!whole || !state.open) return;
    push(state, io, packet, source, "", state.splitter.taken(), true);  // the end of the answer is news by itself
    state.forget();
  }

  static void push(ClausesState& state, StageIo& io, const Packet& packet, const Text& source, std::string utf8,
                   std::size_t end, bool last) {
    auto clause = std::make_shared<Text>();
    clause->language = source.language;
    clause->pause_index = source.pause_index;
    clause->utf8 = std::move(utf8);
    clause->answer_end = end;
    clause->last_of_answer = last;
    Packet out = Packet::data<Text>(std::move(clause), packet.time, packet.duration);
    out.epoch = state.epoch;
    out.stream = packet.stream;
    if (state.revises) {
      out.kind = PacketKind::revise;
      out.since = *state.revises;
      state.revises.reset();
    }
    const std::uint64_t sequence = io.push(0, std::move(out));
    if (!state.first_out) state.first_out = sequence;
  }

  ClauseOptions options_;
};

}  // namespace

void register_clauses(Registry& registry) {
  StageSpec spec;
  spec.name = "text/clauses";
  spec.help = "Cuts a streamed answer into clauses that can be spoken, the first as early as sounds natural.";
  spec.inputs = {{"text", {FormatPattern{"text/plain", {}}}, "an answer in pieces, or whole texts", false}};
  spec.outputs = {{"text", {FormatPattern{"text/plain", {}}}, "clauses with their place in the answer", false}};
  spec.checkpointable = true;
  const ClauseOptions defaults;
  spec.params = {{.name = "first_words",
                  .type = ParamType::integer,
                  .default_value = std::int64_t{defaults.first_words},
                  .help = "words before the first clause may end at a comma",
                  .min = 1,
                  .max = 1000},
                 {.name = "later_words",
                  .type = ParamType::integer,
                  .default_value = std::int64_t{defaults.later_words},
                  .help = "words before a later clause may end at a comma",
                  .min = 1,
                  .max = 1000},
                 {.name = "most_words",
                  .type = ParamType::integer,
                  .default_value = std::int64_t{defaults.most_words},
                  .help = "a clause is never longer",
                  .min = 2,
                  .max = 1000}};
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    ClauseOptions options;
    options.first_words = static_cast<int>(context.params.get_int("first_words"));
    options.later_words = static_cast<int>(context.params.get_int("later_words"));
    options.most_words = static_cast<int>(context.params.get_int("most_words"));
    return std::make_shared<const Clauses>(options);
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::text
