// StageHarness: see stage_harness.h. A StageIo over plain queues.
#include "testing/stage_harness.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <limits>
#include <mutex>
#include <utility>

#include "graph/run_params.h"

namespace morph::testing {

namespace {

constexpr std::size_t kEndless = std::numeric_limits<std::size_t>::max() / 2;

/// Shared with wakers, which may outlive the harness.
struct WakeSignal {
  std::mutex mutex;
  std::condition_variable changed;
  bool woken = false;

  void wake() {
    const std::lock_guard lock(mutex);
    woken = true;
    changed.notify_all();
  }
  bool wait(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex);
    const bool in_time = changed.wait_for(lock, timeout, [this] { return woken; });
    woken = false;
    return in_time;
  }
};

class HarnessIo final : public StageIo {
 public:
  struct Input {
    bool connected = true, ended = false;
    std::deque<Packet> packets;
  };
  struct Output {
    bool connected = true;
    std::size_t space = kEndless;
    std::uint64_t next_sequence = 0;
    std::vector<Packet> sent;
  };

  std::vector<Input> inputs;
  std::vector<Output> outputs;
  std::deque<ControlEvent> control_in;
  std::vector<ControlEvent> control_out;
  std::map<std::string, double, std::less<>> metrics;
  double fraction = 0.0;
  StreamTime time{0};
  std::uint64_t run_seed = 0, epoch = 0;
  bool stopped = false, yields = false;
  FinishReason finish = FinishReason::none;
  std::vector<LossReport> losses;
  std::optional<std::uint64_t> pushed_flush;
  std::shared_ptr<WakeSignal> signal = std::make_shared<WakeSignal>();

  bool connected_input(int port) const override { return input(port).connected; }
  std::size_t available(int port) const override { return input(port).packets.size(); }
  const Packet& peek(int port, std::size_t index) const override {
    const Input& in = input(port);
    if (index >= in.packets.size())
      throw Error(ErrorCode::internal, "harness", "peek(" + std::to_string(index) + ") beyond available()");
    return in.packets[index];
  }
  Packet take(int port) override {
    auto& in = inputs.at(static_cast<std::size_t>(port));
    if (in.packets.empty()) throw Error(ErrorCode::internal, "harness", "take() on an empty input");
    Packet packet = std::move(in.packets.front());
    in.packets.pop_front();
    return packet;
  }
  bool ended(int port) const override {
    const Input& in = input(port);
    return !in.connected || (in.ended && in.packets.empty());
  }
  bool connected_output(int port) const override { return output(port).connected; }
  std::size_t space(int port) const override { return output(port).space; }
  std::uint64_t push(int port, Packet packet) override {
    auto& out = outputs.at(static_cast<std::size_t>(port));
    if (packet.ends_stream())
      throw Error(ErrorCode::internal, "harness", "a stage may push data, revise or flush only");
    if (packet.kind == PacketKind::flush) {
      epoch = std::max(epoch, packet.epoch);
      pushed_flush = std::max(pushed_flush.value_or(0), packet.epoch);
    } else {
      packet.epoch = std::max(packet.epoch, epoch);
    }
    packet.sequence = out.next_sequence++;
    if (out.space > 0 && out.space < kEndless) --out.space;
    const std::uint64_t sequence = packet.sequence;
    if (out.connected) out.sent.push_back(std::move(packet));
    return sequence;
  }
  void send_control(ControlEvent event) override { control_out.push_back(std::move(event)); }
  std::optional<ControlEvent> next_control() override {
    if (control_in.empty()) return std::nullopt;
    ControlEvent event = std::move(control_in.front());
    control_in.pop_front();
    return event;
  }
  bool cancelled() const override { return stopped; }
  bool should_yield() const override { return yields; }
  void finished(FinishReason reason) override { finish = reason; }
  void lost(Loss loss, std::string_view what, std::uint64_t count) override {
    losses.push_back({"", loss, std::string(what), count});
  }
  std::function<void()> waker() override {
    return [signal = signal] { signal->wake(); };
  }
  StreamTime clock() const override { return time; }
  std::uint64_t seed() const override { return run_seed; }
  void progress(double value, std::string_view) override { fraction = value; }
  void metric(std::string_view name, double value) override { metrics[std::string(name)] += value; }

 private:
  const Input& input(int port) const { return inputs.at(static_cast<std::size_t>(port)); }
  const Output& output(int port) const { return outputs.at(static_cast<std::size_t>(port)); }
};

int port_index(const StageSpec& spec, const std::string& port, bool is_input) {
  const int index = is_input ? spec.input_index(port) : spec.output_index(port);
  if (index < 0)
    throw Error(ErrorCode::config, spec.name, std::string("no ") + (is_input ? "input" : "output") + " named " + port);
  return index;
}

}  // namespace

Params with_defaults(const StageSpec& spec, const Params& params) {
  Params complete;
  for (const ParamSpec& param : spec.params) complete.set(param.name, param.default_value);
  for (const auto& entry : params.values()) {
    const std::string& name = entry.first;
    if (std::none_of(spec.params.begin(), spec.params.end(), [&](const ParamSpec& p) { return p.name == name; }))
      throw Error(ErrorCode::config, spec.name, "no parameter named " + name);
    complete.set(name, entry.second);
  }
  return complete;
}

std::vector<Format> resolved_outputs(const StageSpec& spec, const ResolveContext& context) {
  std::vector<std::vector<FormatPattern>> offers;
  if (spec.resolve) {
    offers = spec.resolve(context);
  } else {
    for (const PortSpec& port : spec.outputs) offers.push_back(port.formats);
  }
  if (offers.size() != spec.outputs.size())
    throw Error(ErrorCode::internal, spec.name, "resolve() must return one list per output port");
  std::vector<Format> formats;
  for (const auto& offer : offers) formats.push_back(offer.empty() ? Format{} : fixate(offer.front()));
  return formats;
}

struct StageHarness::Impl {
  const StageSpec& spec;
  ModelStore models;
  std::shared_ptr<const Stage> stage;
  std::unique_ptr<StageState> state;
  std::vector<Format> output_formats;
  HarnessIo io;
  bool done = false;
  OpenContext opening;

  Impl(const StageSpec& the_spec, const HarnessOptions& options) : spec(the_spec) {
    const auto open = [&](const std::string& name) {
      return std::find(options.unconnected.begin(), options.unconnected.end(), name) != options.unconnected.end();
    };
    for (const PortSpec& port : spec.inputs) io.inputs.emplace_back().connected = !open(port.name);
    for (const PortSpec& port : spec.outputs) io.outputs.emplace_back().connected = !open(port.name);
    io.run_seed = options.seed;
    opening.seed = options.seed;
    opening.where = "harness/" + spec.name;
    opening.stage = "harness";
    opening.strict = options.strict;
    opening.attachments = options.attachments;
    opening.segments = options.segments;
  }

  void create(const Params& given, const HarnessOptions& options) {
    const Params params = with_defaults(spec, given);
    std::vector<Format> inputs;
    for (const PortSpec& port : spec.inputs) {
      const auto found = options.inputs.find(port.name);
      if (found != options.inputs.end()) {
        inputs.push_back(found->second);
      } else {
        inputs.push_back(port.formats.empty() ? Format{} : fixate(port.formats.front()));
      }
    }
    std::vector<const Format*> in_pointers, out_pointers;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      in_pointers.push_back(io.inputs[i].connected ? &inputs[i] : nullptr);
    const ModelLocator locator = options.model_roots.empty() ? ModelLocator() : ModelLocator(options.model_roots);
    const auto find_model = [&locator](const std::string& model) { return locator.find(model); };
    output_formats = resolved_outputs(spec, ResolveContext{params, in_pointers, find_model, options.device});
    for (std::size_t i = 0; i < output_formats.size(); ++i)
      out_pointers.push_back(io.outputs[i].connected ? &output_formats[i] : nullptr);
    opening.params = params;
    const Params loading = of_scope(spec, params, ParamScope::load);
    const CreateContext context{loading,
                                in_pointers,
                                out_pointers,
                                find_model,
                                models,
                                options.device,
                                options.n_threads,
                                "harness/" + spec.name,
                                [](double, std::string_view) {}};
    if (!spec.create) throw Error(ErrorCode::internal, spec.name, "the spec has no create function");
    stage = spec.create(context);
  }
};

StageHarness::StageHarness(const StageSpec& spec, const Params& params, const HarnessOptions& options)
    : impl_(std::make_unique<Impl>(spec, options)) {
  impl_->create(params, options);
  impl_->state = impl_->stage->open(impl_->opening);
}

StageHarness::StageHarness(std::shared_ptr<const Stage> stage, const StageSpec& spec, const HarnessOptions& options)
    : impl_(std::make_unique<Impl>(spec, options)) {
  impl_->opening.params = with_defaults(spec, options.params);
  impl_->output_formats.resize(spec.outputs.size());
  impl_->stage = std::move(stage);
  impl_->state = impl_->stage->open(impl_->opening);
}

StageHarness::~StageHarness() = default;

void StageHarness::feed(const std::string& input, Packet packet) {
  auto& in = impl_->io.inputs[static_cast<std::size_t>(port_index(impl_->spec, input, true))];
  if (packet.kind != PacketKind::data && packet.kind != PacketKind::revise)
    throw Error(ErrorCode::config, "harness", "feed() takes data and revise packets; use end(), flush(), cancel()");
  in.packets.push_back(std::move(packet));
}

void StageHarness::end(const std::string& input) {
  impl_->io.inputs[static_cast<std::size_t>(port_index(impl_->spec, input, true))].ended = true;
}

void StageHarness::flush(std::uint64_t epoch) {
  for (auto& in : impl_->io.inputs)
    std::erase_if(in.packets, [epoch](const Packet& packet) { return packet.epoch < epoch; });
  for (auto& out : impl_->io.outputs)
    std::erase_if(out.sent, [epoch](const Packet& packet) { return packet.epoch < epoch; });
  impl_->io.epoch = std::max(impl_->io.epoch, epoch);
  impl_->state->flush(epoch);
}

void StageHarness::control(ControlEvent event) { impl_->io.control_in.push_back(std::move(event)); }
void StageHarness::cancel() { impl_->io.stopped = true; }
void StageHarness::set_yield(bool yields) { impl_->io.yields = yields; }
FinishReason StageHarness::finish() const { return impl_->io.finish; }
const std::vector<LossReport>& StageHarness::losses() const { return impl_->io.losses; }
void StageHarness::set_clock(StreamTime time) { impl_->io.time = time; }

void StageHarness::set_space(const std::string& output, std::size_t packets) {
  impl_->io.outputs[static_cast<std::size_t>(port_index(impl_->spec, output, false))].space = packets;
}

StepStatus StageHarness::step() {
  if (impl_->done) return StepStatus::done;
  StepItem item{impl_->state.get(), &impl_->io};
  impl_->stage->step(std::span(&item, 1));
  if (item.error) throw Error(*item.error);
  if (impl_->io.pushed_flush) {
    const std::uint64_t epoch = *impl_->io.pushed_flush;
    impl_->io.pushed_flush.reset();
    impl_->state->flush(epoch);
  }
  impl_->done = item.status == StepStatus::done;
  return item.status;
}

StepStatus StageHarness::run(std::size_t max_steps, std::chrono::milliseconds timeout) {
  for (std::size_t i = 0; i < max_steps; ++i) {
    const StepStatus status = step();
    if (status == StepStatus::ready) continue;
    if (status == StepStatus::waiting && impl_->io.signal->wait(timeout)) continue;
    return status;
  }
  throw Error(ErrorCode::internal, impl_->spec.name,
              "did not come to rest within " + std::to_string(max_steps) + " steps");
}

std::vector<Packet> StageHarness::take(const std::string& output) {
  auto& out = impl_->io.outputs[static_cast<std::size_t>(port_index(impl_->spec, output, false))];
  std::vector<Packet> sent = std::exchange(out.sent, {});
  if (out.space < kEndless) out.space += sent.size();
  return sent;
}

std::size_t StageHarness::available(const std::string& input) const {
  return impl_->io.inputs[static_cast<std::size_t>(port_index(impl_->spec, input, true))].packets.size();
}

std::vector<ControlEvent> StageHarness::take_controls() { return std::exchange(impl_->io.control_out, {}); }

double StageHarness::metric(const std::string& name) const {
  const auto found = impl_->io.metrics.find(name);
  return found == impl_->io.metrics.end() ? 0.0 : found->second;
}

double StageHarness::progress() const { return impl_->io.fraction; }

const Format& StageHarness::output_format(const std::string& output) const {
  return impl_->output_formats[static_cast<std::size_t>(port_index(impl_->spec, output, false))];
}

StageState& StageHarness::state() { return *impl_->state; }
const Stage& StageHarness::stage() const { return *impl_->stage; }
StageIo& StageHarness::io() { return impl_->io; }

}  // namespace morph::testing
