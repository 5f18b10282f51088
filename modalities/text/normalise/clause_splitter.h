// Cuts a growing text into clauses that can be spoken: the first as early as sounds natural, so that a voice starts
// soon, the later ones at sentence ends or commas far enough apart to keep the melody whole.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace morph::wire {
class Reader;
class Writer;
}  // namespace morph::wire

namespace morph::text {

struct ClauseOptions {
  int first_words = 4;   ///< words before a comma or a conjunction may end the first clause
  int later_words = 12;  ///< words before a comma may end a later clause
  int most_words = 40;   ///< a clause is cut at a space beyond this
};

/// One text at a time. Not thread-safe.
class ClauseSplitter {
 public:
  explicit ClauseSplitter(const ClauseOptions& options = {}) : options_(options) {}

  void add(std::string_view utf8) { buffer_ += utf8; }
  /// The next clause, with the white space around it, when its end is certain; nothing until more is added. `whole`:
  /// nothing will be added any more, so the rest is a clause too.
  std::optional<std::string> take(bool whole);
  /// Bytes taken so far.
  std::size_t taken() const { return taken_; }
  /// Forgets everything: a new text begins.
  void clear();
  void save(wire::Writer& writer) const;
  void restore(wire::Reader& reader);

 private:
  std::size_t find_end(bool whole) const;  ///< bytes of the next clause with the space after it; 0: not known yet

  ClauseOptions options_;
  std::string buffer_;
  std::size_t taken_ = 0;
  bool first_ = true;
};

/// True when the full stop at `at` belongs to an abbreviation, an initial or a list number, not to a sentence's end.
/// `next` is the first character of the next word, or NUL when unknown.
bool is_abbreviation(std::string_view text, std::size_t at, char next);

}  // namespace morph::text
