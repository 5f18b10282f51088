// Subtitles people can read: spans of a text with times become cues of at most two lines of 42 columns and 7 s, cut at
// sentences, else at clauses, else at words, and shown long enough to be read where the next cue leaves time
// (the usual rules of broadcasters: EBU-TT-D practice, Netflix' timed text style guide).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "morph/text.h"

namespace morph::text {

struct SubtitleRules {
  int columns = 42;  ///< of a line; characters of East Asian scripts take two
  double longest_s = 7.0;
  double pause_s = 1.5;  ///< a cue does not stand over a longer silence
  double characters_per_s = 20.0;
  double apart_s = 0.04;  ///< least time between cues where one was made longer to be read
};

struct Cue {
  double start_s = 0, end_s = 0;
  std::vector<std::string> lines;  ///< one or two
};

/// Spans without times are left out. Words' times where spans have them, else shared out by length.
std::vector<Cue> make_cues(std::span<const TextSpan> spans, const SubtitleRules& rules = {});

/// Columns that a text takes.
int columns_of(std::string_view text);

std::string write_srt(std::span<const Cue> cues);
std::string write_vtt(std::span<const Cue> cues);
std::string write_ass(std::span<const Cue> cues);
/// Start and end in milliseconds and the text, a line for each span (openai/whisper's form).
std::string write_tsv(std::span<const TextSpan> spans);

}  // namespace morph::text
