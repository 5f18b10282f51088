// StepIo: see step_io.h.
#include "exec/step_io.h"

#include <algorithm>

#include "exec/step_error.h"

namespace morph::exec {

namespace {
[[noreturn]] void misuse(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::internal, where, what);
}
}  // namespace

void add_loss(std::vector<LossReport>& losses, Loss loss, std::string_view what, std::uint64_t count) {
  for (LossReport& each : losses) {
    if (each.loss != loss || each.what != what) continue;
    each.count += count;
    return;
  }
  losses.push_back({"", loss, std::string(what), count});
}

bool StepIo::untouched() const {
  const auto taken = [](const Input& in) { return in.n_taken > 0; };
  const auto used = [](const Output& out) { return out.next_sequence != out.first_sequence; };
  return std::none_of(inputs.begin(), inputs.end(), taken) && std::none_of(outputs.begin(), outputs.end(), used) &&
         n_controls_taken == 0 && sent_controls.empty() && metrics.empty();
}

const StepIo::Input& StepIo::input(int port) const {
  if (port < 0 || static_cast<std::size_t>(port) >= inputs.size())
    misuse(where, "the stage asked for input " + std::to_string(port) + " of " + std::to_string(inputs.size()));
  return inputs[static_cast<std::size_t>(port)];
}

const StepIo::Output& StepIo::output(int port) const {
  if (port < 0 || static_cast<std::size_t>(port) >= outputs.size())
    misuse(where, "the stage asked for output " + std::to_string(port) + " of " + std::to_string(outputs.size()));
  return outputs[static_cast<std::size_t>(port)];
}

bool StepIo::connected_input(int port) const { return input(port).connected; }

std::size_t StepIo::available(int port) const {
  const Input& in = input(port);
  return in.packets.size() - in.n_taken;
}

const Packet& StepIo::peek(int port, std::size_t index) const {
  const Input& in = input(port);
  if (in.n_taken + index >= in.packets.size())
    misuse(where, "the stage peeked at packet " + std::to_string(index) + " of " + std::to_string(available(port)));
  return in.packets[in.n_taken + index];
}

Packet StepIo::take(int port) {
  Input& in = const_cast<Input&>(input(port));
  if (in.n_taken >= in.packets.size()) misuse(where, "the stage took a packet from an empty input");
  return std::move(in.packets[in.n_taken++]);
}

bool StepIo::ended(int port) const {
  const Input& in = input(port);
  return !in.connected || (in.upstream_ended && available(port) == 0);
}

bool StepIo::connected_output(int port) const { return output(port).connected; }
std::size_t StepIo::space(int port) const { return output(port).space; }

std::uint64_t StepIo::push(int port, Packet packet) {
  Output& out = const_cast<Output&>(output(port));
  if (packet.ends_stream()) misuse(where, "a stage may push data, revise or flush packets; it ends by returning done");
  if (packet.kind == PacketKind::flush) {
    epoch = std::max(epoch, packet.epoch);
  } else {
    packet.epoch = std::max(packet.epoch, epoch);
    if (out.space > 0) --out.space;
  }
  packet.sequence = out.next_sequence++;
  const std::uint64_t sequence = packet.sequence;
  if (out.connected || packet.kind == PacketKind::flush) sent.push_back({port, std::move(packet)});
  return sequence;
}

void StepIo::send_control(ControlEvent event) { sent_controls.push_back(std::move(event)); }

std::optional<ControlEvent> StepIo::next_control() {
  if (n_controls_taken >= controls.size()) return std::nullopt;
  return controls[n_controls_taken++];
}

bool StepIo::should_yield() const {
  return most_urgent != nullptr && most_urgent->load(std::memory_order_relaxed) > priority;
}

void StepIo::lost(Loss loss, std::string_view what, std::uint64_t count) {
  if (count > 0) add_loss(losses, loss, what, count);
}

bool StepIo::cancelled() const { return signals->stopped.load(std::memory_order_relaxed); }
std::function<void()> StepIo::waker() { return wake; }
StreamTime StepIo::clock() const { return signals->clock ? signals->clock() : StreamTime{0}; }
std::uint64_t StepIo::seed() const { return run_seed; }

void StepIo::progress(double value, std::string_view what) {
  const double clamped = std::clamp(value, 0.0, 1.0);
  fraction.store(clamped, std::memory_order_relaxed);
  if (!on_progress || observer_error) return;
  try {
    on_progress(clamped, what);
  } catch (...) {  // an edge: the application's
    observer_error = current_error(where + "/progress");
  }
}

void StepIo::metric(std::string_view name, double value) {
  const auto found = metrics.find(name);
  if (found != metrics.end()) {
    found->second += value;
  } else {
    metrics.emplace(name, value);
  }
}

}  // namespace morph::exec
