// See turn_detector.h. Hysteresis of 0.15 between speech and silence as in Silero's own post-processing.
#include "turns/turn_detector.h"

#include <algorithm>
#include <cmath>

#include "exec/wire.h"

namespace morph::audio {
namespace {

constexpr float kHysteresis = 0.15f;
constexpr int kMaxCandidateGap = 3;  // windows of silence inside a first word
constexpr int kResumeWindows = 2;    // one window of noise does not take a pause back

int windows(double seconds) {
  return std::max(1, static_cast<int>(std::ceil(seconds / TurnDetector::kWindowSeconds - 1e-6)));
}

}  // namespace

TurnDetector::TurnDetector(const TurnRules& rules)
    : threshold_(rules.threshold),
      pause_windows_(windows(rules.pause_s)),
      end_windows_(std::max(windows(rules.end_s), pause_windows_ + 1)),
      min_windows_(windows(rules.min_speech_s)),
      max_windows_(windows(rules.max_turn_s)) {}

TurnDetector::Decision TurnDetector::add(float probability) {
  const bool speech = probability >= threshold_, silence = probability < threshold_ - kHysteresis;
  if (turn_) return in_turn(speech, silence);
  Decision decision;
  decision.speech = speech;
  if (speech) {
    ++candidate_speech_;
    candidate_gap_ = 0;
  } else if (silence && candidate_speech_ > 0 && ++candidate_gap_ > kMaxCandidateGap) {
    candidate_speech_ = candidate_windows_ = candidate_gap_ = 0;
  }
  if (candidate_speech_ > 0) ++candidate_windows_;
  if (candidate_speech_ < min_windows_) return decision;
  turn_windows_ = candidate_windows_;
  candidate_speech_ = candidate_windows_ = candidate_gap_ = 0;
  turn_ = last_speech_ = true;
  paused_ = false;
  silent_ = resumed_ = 0;
  decision.in_turn = true;
  decision.marker = TurnMarker::speech_start;
  return decision;
}

TurnDetector::Decision TurnDetector::in_turn(bool speech, bool silence) {
  // Between the thresholds a window is what the one before it was.
  const bool heard = speech || (!silence && last_speech_);
  last_speech_ = heard;
  Decision decision;
  decision.speech = heard;
  decision.in_turn = true;
  ++turn_windows_;
  if (heard) {
    if (!paused_) {
      silent_ = 0;
    } else if (++resumed_ >= kResumeWindows) {
      paused_ = false;
      silent_ = resumed_ = 0;
      decision.marker = TurnMarker::resume;
      decision.pause_index = pause_index_;
    } else {
      ++silent_;
    }
  } else {
    ++silent_;
    resumed_ = 0;
    if (paused_ && silent_ >= end_windows_) return end_turn(heard);
    if (!paused_ && silent_ >= pause_windows_) {
      paused_ = true;
      decision.marker = TurnMarker::pause;
      decision.pause_index = ++pause_index_;
    }
  }
  if (turn_windows_ >= max_windows_ && decision.marker == TurnMarker::none) return end_turn(heard);
  return decision;
}

TurnDetector::Decision TurnDetector::end_turn(bool speech) {
  if (!paused_) ++pause_index_;
  turn_ = paused_ = false;
  return {speech, true, TurnMarker::end, pause_index_};
}

void TurnDetector::forget_turn() {
  turn_ = paused_ = last_speech_ = false;
  candidate_windows_ = candidate_speech_ = candidate_gap_ = 0;
  silent_ = resumed_ = turn_windows_ = 0;
  ++pause_index_;
}

void TurnDetector::save(wire::Writer& writer) const {
  for (const bool flag : {turn_, paused_, last_speech_}) writer.boolean(flag);
  for (const int count : {candidate_windows_, candidate_speech_, candidate_gap_, silent_, resumed_, turn_windows_})
    writer.u32(static_cast<std::uint32_t>(count));
  writer.u64(pause_index_);
}

void TurnDetector::restore(wire::Reader& reader) {
  for (bool* flag : {&turn_, &paused_, &last_speech_}) *flag = reader.boolean();
  for (int* count : {&candidate_windows_, &candidate_speech_, &candidate_gap_, &silent_, &resumed_, &turn_windows_}) {
    const std::uint32_t value = reader.u32();
    if (value > (1u << 30)) reader.fail("expected a number of windows");
    *count = static_cast<int>(value);
  }
  pause_index_ = reader.u64();
}

std::optional<TurnDetector::Decision> TurnDetector::finish() {
  if (!turn_) return std::nullopt;
  return end_turn(false);
}

}  // namespace morph::audio
