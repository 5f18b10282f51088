// From speakable text to what voices are trained on: IPA with the clause punctuation put back.
//
// espeak-ng drops punctuation; Piper and Kokoro voices want it, since it shapes their intonation. The convention is
// piper_phonemize's: clause IPA + its mark, and a space after "," ":" ";".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "synthesise/espeak.h"

namespace morph::audio {

/// IPA of a sentence (one or more clauses with their punctuation), UTF-8. `text` is speakable text: a mark of ",;:.!?"
/// before a space or the end closes a clause. Empty when there is nothing to say. Throws what EspeakProgram does.
std::string sentence_ipa(const EspeakProgram& espeak, std::string_view text, std::string_view voice);

/// Code points after canonical decomposition (NFD), so that accents are phonemes of their own; as UTF-8 strings.
std::vector<std::string> decomposed_phonemes(std::string_view ipa);
/// Code points as they are.
std::vector<std::string> plain_phonemes(std::string_view ipa);

/// Pieces of a long speakable text, each at most about `max_chars` bytes: cut after sentences, then after clauses, then
/// between words; a word is never cut unless it is longer than the limit by itself.
struct Utterance {
  std::string text;
  std::size_t end = 0;        ///< bytes of the speakable text up to the end of this piece
  bool sentence_end = false;  ///< a longer pause follows
};
std::vector<Utterance> split_utterances(std::string_view speakable, std::size_t max_chars);

}  // namespace morph::audio
