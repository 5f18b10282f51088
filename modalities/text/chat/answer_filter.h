// Turns token bytes into what may be shown: whole characters, without what a model thinks aloud between tags and
// without white space in front.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace morph::wire {
class Reader;
class Writer;
}  // namespace morph::wire

namespace morph::text {

class AnswerFilter {
 public:
  AnswerFilter() = default;
  /// Tags as in ChatPrompt; an empty start means there is no thinking.
  AnswerFilter(std::string thinking_start, std::vector<std::string> thinking_end)
      : start_(std::move(thinking_start)), ends_(std::move(thinking_end)) {}

  /// What can be shown now that `bytes` came. `last`: nothing will follow, so nothing is held back but half characters,
  /// which are dropped.
  std::string add(std::string_view bytes, bool last);
  void save(wire::Writer& writer) const;
  void restore(wire::Reader& reader);

 private:
  std::string start_;
  std::vector<std::string> ends_;
  std::string raw_;   ///< bytes of characters that are not whole
  std::string text_;  ///< whole characters that may belong to a tag
  bool thinking_ = false;
  bool begun_ = false;  ///< something other than white space was shown
};

}  // namespace morph::text
