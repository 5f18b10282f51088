// Turns out of speech probabilities: a state machine over 32 ms windows, so that every decision is in stream time and
// none depends on when audio arrives or how it is cut into chunks.
#pragma once

#include <cstdint>
#include <optional>

#include "morph/audio.h"

namespace morph::wire {
class Reader;
class Writer;
}  // namespace morph::wire

namespace morph::audio {

struct TurnRules {
  float threshold = 0.5f;     ///< speech at or above; silence below threshold - 0.15
  double pause_s = 0.2;       ///< silence after which the turn may be over
  double end_s = 0.6;         ///< silence after which it is
  double min_speech_s = 0.2;  ///< speech that opens a turn
  double max_turn_s = 60.0;   ///< a longer turn is ended
};

/// Not thread-safe.
class TurnDetector {
 public:
  static constexpr double kWindowSeconds = 0.032;

  struct Decision {
    bool speech = false;   ///< this window
    bool in_turn = false;  ///< after this window (also for the one that ends a turn)
    TurnMarker marker = TurnMarker::none;
    std::uint64_t pause_index = 0;  ///< with pause, resume, end
  };

  explicit TurnDetector(const TurnRules& rules);
  Decision add(float probability);
  /// At the end of the input: the end of an open turn, if there is one.
  std::optional<Decision> finish();
  /// Between turns again, without an end of the one that is open. Counts as a pause, so that the answers to come have
  /// numbers above all that was dropped.
  void forget_turn();
  /// Windows of speech (with short gaps) that wait to become a turn.
  int candidate_windows() const { return candidate_windows_; }
  void save(wire::Writer& writer) const;
  void restore(wire::Reader& reader);

 private:
  Decision in_turn(bool speech, bool silence);
  Decision end_turn(bool speech);

  float threshold_;
  int pause_windows_, end_windows_, min_windows_, max_windows_;
  bool turn_ = false, paused_ = false, last_speech_ = false;
  int candidate_windows_ = 0, candidate_speech_ = 0, candidate_gap_ = 0;
  int silent_ = 0, resumed_ = 0, turn_windows_ = 0;
  std::uint64_t pause_index_ = 0;
};

}  // namespace morph::audio
