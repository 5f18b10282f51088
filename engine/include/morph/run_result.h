// How a run ended: its state, why it stopped generating, and what it did not give whole. Stages say it while they run
// (StageIo::finished, StageIo::lost); front ends read it when the run is over (Run::result) and decide: a terminal
// warns, a job that asked for the whole fails.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "morph/error.h"

namespace morph {

enum class RunState : std::uint8_t { idle, running, paused, finished, failed, cancelled };

/// Why a stage that generates (an answer, a picture, a take) stopped.
enum class FinishReason : std::uint8_t {
  none,         ///< nothing was generated, or no stage said
  complete,     ///< it came to an end by itself
  length,       ///< a limit was reached (max_tokens, the context): the end is missing
  interrupted,  ///< whoever listened cut it off
  unconfirmed,  ///< it was made ahead and never asked for
};
std::string_view to_string(FinishReason reason);

/// In what way a part of what went in or should have come out is missing.
enum class Loss : std::uint8_t {
  cut,       ///< the end is missing
  skipped,   ///< a part of the input was left out
  unspoken,  ///< it was to be said, and was not
  guessed,   ///< something stands in its place that may be wrong
};
std::string_view to_string(Loss loss);

/// What one stage lost, added up over the run.
struct LossReport {
  std::string stage;  ///< node's name
  Loss loss = Loss::cut;
  std::string what;  ///< singular: "answer", "phoneme", "text"
  std::uint64_t count = 0;
};

struct RunResult {
  RunState state = RunState::idle;
  FinishReason finish = FinishReason::none;  ///< what a stage said last
  std::vector<LossReport> losses;            ///< by stage, in the order they were first said
  std::shared_ptr<const Error> error;        ///< why it failed; null otherwise
  /// It finished, and nothing is missing.
  bool whole() const { return state == RunState::finished && losses.empty() && finish != FinishReason::length; }
};

}  // namespace morph
