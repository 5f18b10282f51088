// StageHarness: drives one stage through its StageIo without a scheduler, so that a test of a stage is a few lines:
//
//   StageHarness harness(spec, Params({{"rate", 16000}}));
//   harness.feed("audio", Packet::data(chunk));
//   harness.end("audio");
//   CHECK(harness.run() == StepStatus::done);
//   auto packets = harness.take("audio");
//
// Ends, flushes and control events behave as under the scheduler; queues are unbounded unless set_space() says
// otherwise.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "morph/model.h"
#include "morph/stage.h"

namespace morph::testing {

struct HarnessOptions {
  std::map<std::string, Format> inputs;  ///< formats of connected inputs; default: the port's first pattern, fixated
  std::vector<std::string> unconnected;  ///< ports (either side) that are left open
  std::vector<std::filesystem::path> model_roots;  ///< empty: ModelLocator's default
  std::string device = "cpu";
  int n_threads = 1;
  Params params{};  ///< of the run, for a stage that was made by hand
  std::uint64_t seed = 0;
  bool strict = false;
  Attachments attachments{};
  std::filesystem::path segments{};  ///< as of a run that is saved; empty: it is not
};

/// `params` over the defaults of `spec`. Throws Error{config} for a name the spec does not have.
Params with_defaults(const StageSpec& spec, const Params& params);

/// Not thread-safe. Throws Error for what the stage throws, Error{config} for unknown ports.
class StageHarness {
 public:
  /// Fills in defaults, resolves formats, creates the stage and opens a state.
  explicit StageHarness(const StageSpec& spec, const Params& params = {}, const HarnessOptions& options = {});
  /// A stage that was made by hand; `spec` names its ports.
  StageHarness(std::shared_ptr<const Stage> stage, const StageSpec& spec, const HarnessOptions& options = {});
  ~StageHarness();
  StageHarness(const StageHarness&) = delete;
  StageHarness& operator=(const StageHarness&) = delete;

  void feed(const std::string& input, Packet packet);
  template <class T>
  void feed(const std::string& input, T value, StreamTime time = StreamTime{0}) {
    feed(input, Packet::data(std::make_shared<const T>(std::move(value)), time));
  }
  void end(const std::string& input);
  /// A flush arrives: drops older packets queued at every input, tells the state, raises the epoch of what it sends.
  void flush(std::uint64_t epoch);
  void control(ControlEvent event);
  void cancel();
  void set_yield(bool yields);  ///< what StageIo::should_yield answers from now on
  void set_clock(StreamTime time);
  /// Room left at an output (default: practically endless); shrinks as the stage pushes, grows again by take().
  void set_space(const std::string& output, std::size_t packets);

  /// One step.
  StepStatus step();
  /// Steps until the stage answers anything but `ready`; for `waiting`, until its waker was called and it moved on or
  /// `timeout` passed. Throws Error{internal} after `max_steps`: a stage that never comes to rest.
  StepStatus run(std::size_t max_steps = 100000, std::chrono::milliseconds timeout = std::chrono::milliseconds(10000));

  /// Everything the stage sent on this output since the last call, in order (data, revise and flush).
  std::vector<Packet> take(const std::string& output);
  /// Payloads of take() as T. Throws Error{internal} when one is another type.
  template <class T>
  std::vector<T> take_as(const std::string& output) {
    std::vector<T> values;
    for (const Packet& packet : take(output))
      if (packet.payload) values.push_back(packet.as<T>());
    return values;
  }
  std::size_t available(const std::string& input) const;  ///< packets the stage has not taken yet
  std::vector<ControlEvent> take_controls();              ///< what the stage sent upstream
  double metric(const std::string& name) const;           ///< sum; 0 when never reported
  double progress() const;                                ///< last fraction reported
  FinishReason finish() const;                            ///< what the stage said last
  const std::vector<LossReport>& losses() const;          ///< as it said them
  /// The first format of this output as resolved when created.
  const Format& output_format(const std::string& output) const;
  StageState& state();
  const Stage& stage() const;
  StageIo& io();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The concrete formats a stage would send, by output port: resolve() (or the ports' own lists), first choice fixated.
std::vector<Format> resolved_outputs(const StageSpec& spec, const ResolveContext& context);

}  // namespace morph::testing
