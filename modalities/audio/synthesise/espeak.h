// Phonemes from the espeak-ng PROGRAM: a child process per request, text in by a socket, IPA out by a pipe.
//
// The program is GPL-3, so it is run and never linked, and no shell is involved: the text is data on its standard
// input. A request costs about 10 ms, nearly all of it the program's start; a sentence of speech costs ten times that
// to synthesise. espeak-ng prints one line per clause that it finds.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace morph::audio {

/// Stateless; thread-safe.
class EspeakProgram {
 public:
  /// `program` is looked up in PATH unless it holds a slash.
  explicit EspeakProgram(std::string program = "espeak-ng") : program_(std::move(program)) {}

  /// IPA with stress marks, one line per clause, language switches "(en)" removed. `voice` is an espeak voice name
  /// ("en-us"). Throws Error{config}: the program is not installed, the voice is unknown; Error{resource}: it does not
  /// answer within 20 s (more for long texts) or cannot be started.
  std::vector<std::string> clauses(std::string_view text, std::string_view voice) const;

 private:
  std::string program_;
};

}  // namespace morph::audio
