// RunImpl: the Run that applications hold, over a RunGraph and the executor's lock.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "exec/executor.h"
#include "morph/output_file.h"

namespace morph::exec {

class RunImpl final : public Run {
 public:
  /// `graph` is idle; states that are missing are opened by start().
  RunImpl(std::shared_ptr<Executors::Core> core, std::shared_ptr<RunGraph> graph);
  ~RunImpl() override;

  void start() override;
  bool feed(const std::string& input, Packet packet) override;
  FeedStatus feed_for(const std::string& input, Packet& packet, std::chrono::milliseconds timeout) override;
  void end_input(const std::string& input) override;
  std::optional<Packet> read(const std::string& output, std::chrono::milliseconds timeout) override;
  void send_control(const std::string& output, ControlEvent event) override;
  std::optional<OutputPacket> read_any(std::chrono::milliseconds timeout,
                                       std::span<const std::string> outputs) override;
  void set_params(const std::map<std::string, Value>& params) override;
  void cancel() override;
  void pause() override;
  void resume() override;
  void checkpoint(const std::filesystem::path& file) override;
  void wait() override;
  RunState state() const override;
  RunResult result() const override;
  double progress() const override;
  std::map<std::string, StageMetrics> metrics() const override;

 private:
  GraphNode& endpoint(const std::string& name, bool feed) const;
  void check_fed(const GraphNode& node, const Packet& packet) const;
  void wait_until_quiescent(std::unique_lock<std::mutex>& lock);
  /// Once, when the run was traced; the lock is not held. Throws what OutputFile does.
  void write_trace();
  /// The head of this run's checkpoints; asked for once.
  const Checkpoint& origin();
  /// Once, when the run has finished: its checkpoint becomes a note of that, and its segments go.
  void seal_checkpoint();

  std::shared_ptr<Executors::Core> core_;
  std::shared_ptr<RunGraph> graph_;
  std::condition_variable changed_;
  StreamTime started_{0};
  std::unique_ptr<OutputFile> trace_file_;  ///< from start() until the trace is in it
  bool starting_ = false;
  std::size_t next_read_ = 0;  ///< where read_any begins, so that each output has its turn
  std::mutex save_mutex_;      ///< one checkpoint at a time; taken before the core's
  std::optional<Checkpoint> origin_;
};

}  // namespace morph::exec
