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
  std::vector<Input> inputs;
  std::vector<Output> outputs;

  // One step.
  std::uint64_t epoch = 0;
  bool keep_taken = false;  ///< copy instead of move on take(), so that undo() is possible
  std::vector<Sent> sent;   ///< in order over all ports
  std::deque<ControlEvent> controls;
  std::size_t n_controls_taken = 0;
  std::vector<ControlEvent> sent_controls;
  std::map<std::string, double, std::less<>> metrics;
  std::shared_ptr<const Error> observer_error;  ///< what on_progress threw: no stage, nor a library below it, sees that
  std::atomic<double> fraction{-1.0};           ///< last progress; survives steps; read by any thread

  /// Forgets what the step did (needs keep_taken).
  void undo();

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

 private:
  const Input& input(int port) const;
  const Output& output(int port) const;
};

}  // namespace morph::exec
