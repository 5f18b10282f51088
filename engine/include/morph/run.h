// Run: one execution of a compiled pipeline.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "morph/packet.h"
#include "morph/pipeline.h"

namespace morph {

/// Deadline class. Ready steps of a higher class always go first; within a class, nearest to the sinks first.
enum class Priority : std::uint8_t { background, normal, interactive, realtime };

struct RunOptions {
  std::uint64_t seed = 0;
  Priority priority = Priority::normal;
  bool strict = false;          ///< results do not depend on batch mates (see DESIGN, determinism)
  std::filesystem::path trace;  ///< Chrome/Perfetto trace written at the end; empty = none
  /// Called from engine threads when a stage reports progress; must be quick. What it throws fails the run once the
  /// step under way has ended, with where = "pipeline/stage/progress"; it is not called again.
  std::function<void(const std::string& stage, double fraction, std::string_view what)> on_progress;
};

struct StageMetrics {
  std::uint64_t steps = 0, packets_in = 0, packets_out = 0, dropped = 0, max_batch = 0;
  std::uint64_t warnings = 0;  ///< streams of this stage that were constant, clipped or empty (`notes` says which)
  double busy_ms = 0, longest_step_ms = 0, queue_wait_ms = 0;
  std::map<std::string, double> values;  ///< StageIo::metric, summed
  std::vector<std::string> notes;        ///< "port audio: 7.1% of the samples are clipped"
};

enum class RunState : std::uint8_t { idle, running, paused, finished, failed, cancelled };

/// Handle of a run; destroying it cancels the run and waits for it. Methods may be called from any thread.
class Run {
 public:
  virtual ~Run() = default;
  virtual void start() = 0;
  /// Sends into an unbound pipeline input; blocks while its queue is full; false when the run no longer takes input.
  virtual bool feed(const std::string& input, Packet packet) = 0;
  virtual void end_input(const std::string& input) = 0;
  /// Next packet of an unbound pipeline output, in order, including revise and flush; the last one is end, error or
  /// cancel. Nothing when `timeout` passed.
  virtual std::optional<Packet> read(const std::string& output, std::chrono::milliseconds timeout) = 0;
  /// Sends a control event from the reader of an output to every stage upstream of it ("played_to", "interrupted").
  virtual void send_control(const std::string& output, ControlEvent event) = 0;
  virtual void cancel() = 0;  ///< takes effect within one stage step; returns at once
  virtual void pause() = 0;   ///< returns when no step of this run is running
  virtual void resume() = 0;
  /// Writes what is needed to go on in another process (run must be paused). Throws Error{pipeline} naming the stages
  /// that cannot be saved.
  virtual void checkpoint(const std::filesystem::path& file) = 0;
  /// Waits for the end. Rethrows the error the run failed with; Error{cancelled} when it was cancelled.
  virtual void wait() = 0;
  virtual RunState state() const = 0;
  virtual double progress() const = 0;  ///< 0..1, the least advanced stage that reports
  virtual std::map<std::string, StageMetrics> metrics() const = 0;
};

}  // namespace morph
