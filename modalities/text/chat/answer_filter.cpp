// See answer_filter.h.
#include "chat/answer_filter.h"

#include <algorithm>

#include "exec/wire.h"
#include "utf8.h"

namespace morph::text {
namespace {

/// Bytes at the end of `text` that could be the beginning of `tag`.
std::size_t begun_tag(std::string_view text, std::string_view tag) {
  for (std::size_t n = std::min(text.size(), tag.empty() ? 0 : tag.size() - 1); n > 0; --n)
    if (text.substr(text.size() - n) == tag.substr(0, n)) return n;
  return 0;
}

}  // namespace

void AnswerFilter::save(wire::Writer& writer) const {
  writer.string(start_);
  writer.value(ends_);
  writer.string(raw_);
  writer.string(text_);
  writer.boolean(thinking_);
  writer.boolean(begun_);
}

void AnswerFilter::restore(wire::Reader& reader) {
  start_ = reader.string();
  const Value ends = reader.value();
  const auto* list = std::get_if<std::vector<std::string>>(&ends);
  if (list == nullptr) reader.fail("expected a list of tags");
  ends_ = *list;
  raw_ = reader.string();
  text_ = reader.string();
  thinking_ = reader.boolean();
  begun_ = reader.boolean();
}

std::string AnswerFilter::add(std::string_view bytes, bool last) {
  raw_ += bytes;
  text_ += take_whole_utf8(raw_);
  std::string shown;
  for (;;) {
    if (thinking_) {
      std::size_t at = std::string::npos, length = 0, held = 0;
      for (const std::string& end : ends_) {
        const std::size_t found = text_.find(end);
        if (found < at) {
          at = found;
          length = end.size();
        }
        held = std::max(held, begun_tag(text_, end));
      }
      if (at == std::string::npos) {
        text_.erase(0, text_.size() - held);
        break;
      }
      text_.erase(0, at + length);
      thinking_ = false;
      continue;
    }
    const std::size_t at = start_.empty() ? std::string::npos : text_.find(start_);
    if (at != std::string::npos) {
      shown += text_.substr(0, at);
      text_.erase(0, at + start_.size());
      thinking_ = true;
      continue;
    }
    const std::size_t held = last ? 0 : begun_tag(text_, start_);
    shown += text_.substr(0, text_.size() - held);
    text_.erase(0, text_.size() - held);
    break;
  }
  if (!begun_) {
    shown.erase(0, std::min(shown.find_first_not_of(" \t\r\n"), shown.size()));
    begun_ = !shown.empty();
  }
  return shown;
}

}  // namespace morph::text
