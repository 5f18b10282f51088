// StepIo: a stage's view of its ports during one step, as a transaction. The scheduler fills it when a step begins and
// applies it when the step has ended well; a step that failed is undone by forgetting what it did. No locks: between
// begin and end it belongs to the step's thread.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "morph/stage.h"

namespace morph::exec {

/// Adds to the entry of this kind and name, or appends one.
void add_loss(std::vector<LossReport>& losses, Loss loss, std::string_view what, std::uint64_t count);

/// What a step may read of its run while others change it.
struct RunSignals {
  std::atomic<bool> stopped{false};   ///< cancelled, failed or over
  std::function<StreamTime()> clock;  ///< time since the run started; set before the run starts
};

class StepIo final : public StageIo {
 public:
  struct Input {
    bool connected = false;
    bool upstream_ended = false;
    std::deque<Packet> packets;
    std::size_t n_taken = 0;
  };
  struct Output {
    bool connected = false;
    std::size_t space = 0;
    std::uint64_t next_sequence = 0;   ///< survives steps
    std::uint64_t first_sequence = 0;  ///< of this step, for undo
  };
  struct Sent {
    int port;
    Packet packet;
  };

  // Filled once.
  std::string where;
  std::shared_ptr<const RunSignals> signals;
  std::function<void()> wake;
  std::function<void(double, std::string_view)> on_progress;
  std::uint64_t run_seed = 0;
  int priority = 0;  ///< of the run
  std::vector<Input> inputs;
  std::vector<Output> outputs;

  // One step.
  std::uint64_t epoch = 0;
  const std::atomic<int>* most_urgent = nullptr;  ///< highest priority that waits in this step's lane; -1: none
  std::vector<Sent> sent;                         ///< in order over all ports
  std::deque<ControlEvent> controls;
  std::size_t n_controls_taken = 0;
  std::vector<ControlEvent> sent_controls;
  std::map<std::string, double, std::less<>> metrics;
  std::shared_ptr<const Error> observer_error;  ///< what on_progress threw: no stage, nor a library below it, sees that
  std::atomic<double> fraction{-1.0};           ///< last progress; survives steps; read by any thread
  FinishReason finish = FinishReason::none;
  std::vector<LossReport> losses;

  /// The step took, sent and asked for nothing, so its state is as before.
  bool untouched() const;

  bool connected_input(int port) const override;
  std::size_t available(int port) const override;
  const Packet& peek(int port, std::size_t index = 0) const override;
  Packet take(int port) override;
  bool ended(int port) const override;
  bool connected_output(int port) const override;
  std::size_t space(int port) const override;
  std::uint64_t push(int port, Packet packet) override;
  void send_control(ControlEvent event) override;
  std::optional<ControlEvent> next_control() override;
  bool cancelled() const override;
  std::function<void()> waker() override;
  StreamTime clock() const override;
  std::uint64_t seed() const override;
  void progress(double value, std::string_view what) override;
  void metric(std::string_view name, double value) override;
  bool should_yield() const override;
  void finished(FinishReason reason) override { finish = reason; }
  void lost(Loss loss, std::string_view what, std::uint64_t count) override;

 private:
  const Input& input(int port) const;
  const Output& output(int port) const;
};

}  // namespace morph::exec
