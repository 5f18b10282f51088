// Text as it travels between stages: UTF-8 with optional timed or placed spans, and the state of a spoken turn.
//
// A header of plain values: other modalities that make or take text (a recogniser, a voice, OCR) include it and
// nothing else of this modality. Format type: "text/plain"; "text/turns" when packets follow the turn protocol below.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "morph/packet.h"

namespace morph {

/// A word and when it was said, in seconds of stream time.
struct TextWord {
  std::string text;  ///< with its marks, without spaces
  double start_s = 0, end_s = 0;
  float confidence = 1.0f;  ///< 0..1
};

/// A piece of a text with a place in time (speech) or on a page (OCR).
struct TextSpan {
  std::string text;
  double start_s = 0, end_s = 0;            ///< seconds of stream time; equal when unknown
  float confidence = 1.0f;                  ///< 0..1
  std::optional<std::array<float, 8>> box;  ///< x,y of the four corners in pixels, clockwise from top left
  int page = 0;                             ///< of a file with several pages: 1, 2, ...; 0: it has one
  std::vector<TextWord> words{};            ///< of speech, where their times are known
  std::string language{};                   ///< ISO 639-1 where it differs from the text's or is known better
};

/// State of a spoken turn that a text belongs to.
/// `partial`: the speaker is still speaking; the text is what was heard so far.
/// `tentative`: the speaker paused; an answer may be prepared, but must be held back (pause `pause_index`).
/// `final`: the turn is over (confirmed end-point, end of input, or text that never was speech).
/// A recogniser sends, per turn: partial packets (each a revise of the turn's earlier ones), one tentative per
/// pause, and one final. Texts are whole: each supersedes the turn's earlier ones.
enum class TurnState : std::uint8_t { partial, tentative, final };

class Text final : public Payload {
 public:
  std::string utf8;
  std::string language;            ///< ISO 639-1, empty when unknown
  float language_probability = 0;  ///< of `language`, where it was found from speech; 0 when not
  std::vector<TextSpan> spans;
  TurnState turn_state = TurnState::final;
  std::uint64_t pause_index = 0;  ///< for tentative and final: the pause it belongs to (0: not speech)
  std::size_t stable_bytes = 0;   ///< partial: this prefix will not change any more
  /// A generated text that comes in pieces: bytes of the whole answer up to the end of this piece, so that what was
  /// heard can be reported in them. 0 when not an answer.
  std::size_t answer_end = 0;
  bool last_of_answer = false;  ///< this piece ends an answer

  std::string_view type_name() const override { return "text"; }
  std::size_t bytes() const override {
    std::size_t all = sizeof(Text) + utf8.size() + spans.size() * sizeof(TextSpan);
    for (const TextSpan& span : spans) all += span.text.size() + span.words.size() * sizeof(TextWord);
    return all;
  }
  void encode(std::vector<std::byte>& out) const override;
};

}  // namespace morph
