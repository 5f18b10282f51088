// Heard words as a text: sentences with times, in the stream's time.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "morph/text.h"
#include "recognise/recogniser.h"

namespace morph::audio {

/// The words' text without the space in front.
std::string text_of(std::span<const HeardWord> words);
/// Sentences, each with its words' times; also cut where nobody speaks for more than `gap_s`.
std::vector<TextSpan> sentences(std::span<const HeardWord> words, const std::string& language, double gap_s = 1.5);
/// A word without what hearings disagree about most: case and marks.
std::string core_of(std::string_view word);
/// Longest that a word may last: what lasts longer was stretched over a silence.
double longest_word_s(std::string_view word);
/// Syllables, roughly; characters in scripts without vowels.
std::size_t syllables_of(std::span<const HeardWord> words);
/// Says a phrase of up to four words three times in a row.
bool repeats(std::span<const HeardWord> words);
/// More is said than anybody can say in `speech_s`.
bool babbles(std::span<const HeardWord> words, double speech_s);

}  // namespace morph::audio
