// Stub stages: see stub_stages.h.
#include "testing/stub_stages.h"

#include "exec/wire.h"

namespace morph::testing {

Packet number(std::int64_t value, StreamTime time) {
  auto event = std::make_shared<EventPayload>();
  event->name = "n";
  event->values.set("value", value);
  return Packet::data<EventPayload>(std::move(event), time);
}

std::int64_t number_of(const Packet& packet) { return packet.as<EventPayload>().values.get_int("value"); }

StubState::~StubState() {
  if (alive) --*alive;
}

std::vector<std::byte> StubState::save() const {
  std::vector<std::byte> bytes;
  wire::Writer writer(bytes);
  writer.i64(counter);
  writer.u32(static_cast<std::uint32_t>(kept.size()));
  for (const std::int64_t value : kept) writer.i64(value);
  return bytes;
}

void StubState::restore(std::span<const std::byte> saved) {
  wire::Reader reader(saved, "stub state");
  counter = reader.i64();
  kept.resize(reader.count(reader.u32(), 8));
  for (std::int64_t& value : kept) value = reader.i64();
  reader.expect_end();
}

std::unique_ptr<StageState> StubStage::open(const OpenContext&) const {
  auto state = std::make_unique<StubState>();
  state->alive = alive;
  if (alive) ++*alive;
  return state;
}

std::uint64_t StubStage::batch_key(const StageState& state) const {
  return key ? key(static_cast<const StubState&>(state)) : 0;
}

void StubStage::step(std::span<StepItem> items) const {
  if (batch) {
    batch(items);
    return;
  }
  for (StepItem& item : items) item.status = one(static_cast<StubState&>(*item.state), *item.io);
}

StageSpec stub_spec(const std::string& name, int n_inputs, int n_outputs, StageLoad load) {
  StageSpec spec;
  spec.name = name;
  spec.help = "Stub of a test.";
  const FormatPattern event{"event", {}};
  for (int i = 0; i < n_inputs; ++i) spec.inputs.push_back({"in" + std::to_string(i), {event}, "Numbers."});
  for (int i = 0; i < n_outputs; ++i) spec.outputs.push_back({"out" + std::to_string(i), {event}, "Numbers."});
  spec.load = load;
  spec.checkpointable = true;
  return spec;
}

std::shared_ptr<StubStage> counting_stage(std::int64_t count, std::int64_t first, int per_step) {
  return std::make_shared<StubStage>([=](StubState& state, StageIo& io) {
    for (int i = 0; i < per_step && state.counter < count; ++i) {
      if (io.space(0) == 0) return StepStatus::output_full;
      io.push(0, number(first + state.counter++));
    }
    return state.counter < count ? StepStatus::ready : StepStatus::done;
  });
}

std::shared_ptr<StubStage> mapping_stage(std::function<std::int64_t(std::int64_t)> change) {
  return std::make_shared<StubStage>([change = std::move(change)](StubState&, StageIo& io) {
    if (io.available(0) > 0) {
      if (io.space(0) == 0) return StepStatus::output_full;
      Packet packet = io.take(0);
      Packet changed = number(change(number_of(packet)), packet.time);
      changed.kind = packet.kind;
      changed.since = packet.since;
      io.push(0, std::move(changed));
      return StepStatus::ready;
    }
    return io.ended(0) ? StepStatus::done : StepStatus::need_input;
  });
}

std::shared_ptr<StubStage> joining_stage(std::function<std::int64_t(const std::vector<std::int64_t>&)> combine) {
  return std::make_shared<StubStage>([combine = std::move(combine)](StubState&, StageIo& io) {
    std::vector<int> ports;
    for (int port = 0; port < 2; ++port)
      if (io.connected_input(port)) ports.push_back(port);
    for (const int port : ports)
      if (io.ended(port)) return StepStatus::done;
    for (const int port : ports)
      if (io.available(port) == 0) return StepStatus::need_input;
    if (io.space(0) == 0) return StepStatus::output_full;
    std::vector<std::int64_t> numbers;
    for (const int port : ports) numbers.push_back(number_of(io.take(port)));
    io.push(0, number(combine(numbers)));
    return StepStatus::ready;
  });
}

std::shared_ptr<StubStage> splitting_stage() {
  return std::make_shared<StubStage>([](StubState& state, StageIo& io) {
    if (io.available(0) > 0) {
      const int port = static_cast<int>(state.counter % 2);
      if (io.space(port) == 0) return StepStatus::output_full;
      ++state.counter;
      io.push(port, io.take(0));
      return StepStatus::ready;
    }
    return io.ended(0) ? StepStatus::done : StepStatus::need_input;
  });
}

std::shared_ptr<StubStage> collecting_stage(std::shared_ptr<std::vector<std::int64_t>> into) {
  return std::make_shared<StubStage>([into = std::move(into)](StubState&, StageIo& io) {
    while (io.available(0) > 0) into->push_back(number_of(io.take(0)));
    return io.ended(0) ? StepStatus::done : StepStatus::need_input;
  });
}

void register_stubs(Registry& registry) {
  const auto add = [&registry](StageSpec spec, std::function<std::shared_ptr<const Stage>(const Params&)> make) {
    spec.create = [make = std::move(make)](const CreateContext& context) { return make(context.params); };
    registry.add_stage(std::move(spec));
  };
  const auto with_param = [](StageSpec spec, const std::string& name, std::int64_t value, const std::string& help) {
    spec.params.push_back({name, ParamType::integer, value, help});
    return spec;
  };
  add(with_param(stub_spec("test/count", 0, 1), "count", 10, "How many numbers."),
      [](const Params& params) { return counting_stage(params.get_int("count")); });
  add(with_param(stub_spec("test/add", 1, 1), "add", 1, "What is added."), [](const Params& params) {
    return mapping_stage([by = params.get_int("add")](std::int64_t value) { return value + by; });
  });
  add(with_param(stub_spec("test/fail", 1, 1), "at", 3, "The number that makes it fail."), [](const Params& params) {
    return mapping_stage([at = params.get_int("at")](std::int64_t value) {
      if (value == at) throw Error(ErrorCode::format, "", "number " + std::to_string(at) + " was not expected");
      return value;
    });
  });
  StageSpec batch = stub_spec("test/batch", 1, 1, StageLoad::heavy);
  batch.max_batch = 4;
  add(batch, [](const Params&) { return mapping_stage([](std::int64_t value) { return value; }); });
  add(stub_spec("test/join", 2, 1), [](const Params&) {
    return joining_stage([](const std::vector<std::int64_t>& numbers) { return numbers.front() + numbers.back(); });
  });
  add(stub_spec("test/split", 1, 2), [](const Params&) { return splitting_stage(); });
  StageSpec collect = stub_spec("test/collect", 1, 0);
  collect.sink_of = "event";
  add(collect, [](const Params&) { return collecting_stage(std::make_shared<std::vector<std::int64_t>>()); });
}

}  // namespace morph::testing
