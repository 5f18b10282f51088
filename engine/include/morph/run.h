// Run: one execution of a compiled pipeline.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "morph/packet.h"
#include "morph/pipeline.h"

namespace morph {

struct RunOptions {
  std::uint64_t seed = 0;
  Priority priority = Priority::normal;
  /// Time from start() by which it should be over; 0: none. Within a priority the earliest goes first.
  StreamTime deadline{0};
  bool strict = false;  ///< results depend neither on batch mates nor on when packets arrive; slower
  /// Run parameters of this run, by the pipeline's names or as "stage.param". Over what the plan was compiled with;
  /// typed and range-checked by the stages' specs before anything starts.
  std::map<std::string, Value> params;
  /// What stages may take up and leave changed; see attachment.h.
  Attachments attachments;
  /// File that this run will be saved to (morph/checkpoint.h): its sinks keep segments in the folder beside it, which
  /// is made empty at once and goes when the run has finished; empty: it is not. With this no other process may work on
  /// the same file. Throws Error{config} otherwise.
  std::filesystem::path checkpoint{};
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

enum class FeedStatus : std::uint8_t {
  accepted,
  full,    ///< the queue stayed full until the time was over; the packet is still the caller's
  closed,  ///< the run takes no more of this input
};

/// A packet and the output that it came from.
struct OutputPacket {
  std::string output;
  Packet packet;
};

/// Handle of a run; destroying it cancels the run and waits for it. Methods may be called from any thread.
class Run {
 public:
  virtual ~Run() = default;
  virtual void start() = 0;
  /// Sends into an unbound pipeline input; blocks while its queue is full; false when the run no longer takes input.
  /// Throws Error{config} for an unknown input, Error{format} for a payload that is not what the input was compiled
  /// for.
  virtual bool feed(const std::string& input, Packet packet) = 0;
  /// The same, for at most `timeout` (0: only if there is room now); `packet` is taken only when accepted.
  virtual FeedStatus feed_for(const std::string& input, Packet& packet, std::chrono::milliseconds timeout) = 0;
  virtual void end_input(const std::string& input) = 0;
  /// Next packet of an unbound pipeline output, in order, including revise and flush; the last one is end, error or
  /// cancel. Nothing when `timeout` passed.
  virtual std::optional<Packet> read(const std::string& output, std::chrono::milliseconds timeout) = 0;
  /// Next packet of whichever of these outputs has one (all unbound ones when `outputs` is empty), fairly in turn. How
  /// an output ends is told once; nothing when `timeout` passed or all have ended.
  virtual std::optional<OutputPacket> read_any(std::chrono::milliseconds timeout,
                                               std::span<const std::string> outputs = {}) = 0;
  /// Sends a control event from the reader of an output to every stage upstream of it ("played_to", "interrupted").
  virtual void send_control(const std::string& output, ControlEvent event) = 0;
  /// Changes run parameters between two steps, named as in RunOptions::params. Throws Error{config}, and changes none,
  /// for one that is unknown, out of range or not changeable.
  virtual void set_params(const std::map<std::string, Value>& params) = 0;
  virtual void cancel() = 0;  ///< takes effect within one stage step; returns at once
  virtual void pause() = 0;   ///< returns when no step of this run is running
  virtual void resume() = 0;
  /// Writes what is needed to go on in another process (run must be paused; it stays so until this returns). Other runs
  /// go on. The file appears whole or not at all. Throws Error{pipeline} naming the stages that cannot be saved,
  /// Error{config} when the folder cannot be written to, Error{resource} when the disk is full.
  virtual void checkpoint(const std::filesystem::path& file) = 0;
  /// Waits for the end. Rethrows the error the run failed with; Error{cancelled} when it was cancelled.
  virtual void wait() = 0;
  virtual RunState state() const = 0;
  /// How it ended; what is known so far while it runs.
  virtual RunResult result() const = 0;
  virtual double progress() const = 0;  ///< 0..1, the least advanced stage that reports
  virtual std::map<std::string, StageMetrics> metrics() const = 0;
};

}  // namespace morph
