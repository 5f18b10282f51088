// The words of the turn protocol: events that go down with a speaker's turns, and control events that come back up from
// whoever lets answers be heard. Drawn in modalities/README.md. Stages name them by these constants only.
#pragma once

#include <array>
#include <string_view>

namespace morph::turns {

// Down, on a link of format "event" (audio/voice_activity's port `turns`). `time_s`: stream time of the input.
inline constexpr std::string_view kTick = "tick";                 ///< time goes on
inline constexpr std::string_view kSpeechStart = "speech_start";  ///< someone begins to speak
inline constexpr std::string_view kPause = "pause";               ///< may be the end: prepare an answer (`pause_index`)
inline constexpr std::string_view kResume = "resume";             ///< was not: take it back
inline constexpr std::string_view kEnd = "end";                   ///< the turn is over; confirms `pause_index`
/// In the order of TurnMarker.
inline constexpr std::array<std::string_view, 5> kEvents{kTick, kSpeechStart, kPause, kResume, kEnd};
inline constexpr std::string_view kTime = "time_s";
inline constexpr std::string_view kPauseIndex = "pause_index";

// Up, on the control channel. ControlEvent::epoch is the answer's.
inline constexpr std::string_view kReportsHeard = "reports_heard";  ///< one of the next two will come for every answer
inline constexpr std::string_view kHeard = "heard";                 ///< an answer was heard to its end
inline constexpr std::string_view kInterrupted = "interrupted";     ///< it was cut off; kHeardBytes of it were heard
inline constexpr std::string_view kHeardBytes = "heard_bytes";      ///< of the answer's text (Text::answer_end)

}  // namespace morph::turns
