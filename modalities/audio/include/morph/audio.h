// Audio as it travels between stages: chunks of interleaved 32-bit float samples.
//
// A header of plain values. Format type "audio/pcm" with fields rate (Hz) and channels; "audio/speech" (same fields)
// when chunks carry the turn markers of voice activity detection.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "morph/packet.h"

namespace morph {

/// What voice activity detection found at the END of the chunk that carries it (audio/speech only).
enum class TurnMarker : std::uint8_t {
  none,
  speech_start,  ///< speech began in this chunk (the chunk includes a little audio from before)
  pause,         ///< speech stopped a short while ago: the turn may be over (pause_index is raised)
  resume,        ///< it was not: speech goes on in the same turn
  end,           ///< the turn is over; confirms pause_index
};

class AudioChunk final : public Payload {
 public:
  std::vector<float> samples;  ///< [channels, n_frames], interleaved; nominal range -1..1
  int rate_hz = 0;
  int channels = 1;
  TurnMarker marker = TurnMarker::none;
  bool speech = false;            ///< audio/speech: the detector heard speech here
  std::uint64_t pause_index = 0;  ///< with markers pause, resume, end: counts 1, 2, ... over the stream
  /// Speech made from a generated answer: bytes of that answer spoken by the end of this chunk (Text::answer_end).
  std::size_t answer_end = 0;
  bool last_of_answer = false;

  std::size_t n_frames() const { return channels > 0 ? samples.size() / static_cast<std::size_t>(channels) : 0; }
  std::string_view type_name() const override { return "audio.chunk"; }
  std::size_t bytes() const override { return sizeof(AudioChunk) + samples.size() * sizeof(float); }
  void encode(std::vector<std::byte>& out) const override;
};

}  // namespace morph
