// See text_document.h.
#include "io/text_document.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "exec/wire.h"
#include "io/subtitles.h"
#include "morph/error.h"
#include "text_payload.h"

namespace morph::text {
namespace {

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

}  // namespace

void TextDocument::add(const Packet& packet) {
  const Text& text = packet.as<Text>();
  if (packet.kind == PacketKind::revise)
    while (!entries_.empty() && entries_.back().sequence >= packet.since) entries_.pop_back();
  const bool piece = text.answer_end > 0 || text.last_of_answer;
  if (!entries_.empty() && entries_.back().open) {
    Entry& last = entries_.back();
    if (piece && (last.text.answer_end > 0 || last.text.last_of_answer)) {
      last.text.utf8 += text.utf8;
      last.text.answer_end = text.answer_end;
      last.text.spans.insert(last.text.spans.end(), text.spans.begin(), text.spans.end());
      last.open = !text.last_of_answer;
      return;
    }
    if (!piece && last.text.turn_state != TurnState::final) entries_.pop_back();  // a whole text of the same turn
  }
  entries_.push_back(
      {text, packet.sequence, packet.epoch, piece ? !text.last_of_answer : text.turn_state != TurnState::final});
}

void TextDocument::flush(std::uint64_t epoch) {
  if (!entries_.empty() && entries_.back().open && entries_.back().epoch < epoch) entries_.pop_back();
}

void TextDocument::save(wire::Writer& writer) const {
  writer.u32(static_cast<std::uint32_t>(entries_.size()));
  for (const Entry& entry : entries_) {
    save_text(entry.text, writer);
    writer.u64(entry.sequence);
    writer.u64(entry.epoch);
    writer.boolean(entry.open);
  }
}

void TextDocument::restore(wire::Reader& reader) {
  entries_.clear();
  const std::size_t n = reader.count(reader.u32(), 17);
  for (std::size_t i = 0; i < n; ++i) {
    Entry entry;
    entry.text = restore_text(reader);
    entry.sequence = reader.u64();
    entry.epoch = reader.u64();
    entry.open = reader.boolean();
    entries_.push_back(std::move(entry));
  }
}

std::string TextDocument::plain() const {
  std::string all;
  for (const Entry& entry : entries_) {
    if (trimmed(entry.text.utf8).empty()) continue;
    all += entry.text.utf8;
    if (all.back() != '\n') all += '\n';
  }
  return all;
}

std::string TextDocument::json(const std::string& provenance) const {
  nlohmann::ordered_json out;
  std::string all = plain();
  if (!all.empty()) all.pop_back();
  out["text"] = all;
  std::string language;
  float probability = 0;
  nlohmann::ordered_json spans = nlohmann::ordered_json::array();
  for (const Entry& entry : entries_) {
    if (!entry.text.language.empty()) {
      language = entry.text.language;
      probability = entry.text.language_probability;
    }
    for (const TextSpan& span : entry.text.spans) {
      nlohmann::ordered_json one{{"text", span.text}};
      if (span.end_s > span.start_s) {
        one["start_s"] = span.start_s;
        one["end_s"] = span.end_s;
      }
      one["confidence"] = span.confidence;
      if (span.box) one["box"] = *span.box;
      if (span.page > 0) one["page"] = span.page;
      if (!span.language.empty()) one["language"] = span.language;
      for (const TextWord& word : span.words)
        one["words"].push_back(
            {{"text", word.text}, {"start_s", word.start_s}, {"end_s", word.end_s}, {"confidence", word.confidence}});
      spans.push_back(std::move(one));
    }
  }
  if (!language.empty()) out["language"] = language;
  if (probability > 0) out["language_probability"] = probability;
  out["spans"] = std::move(spans);
  if (!provenance.empty()) {
    const auto parsed = nlohmann::ordered_json::parse(provenance, nullptr, false);
    out["provenance"] = parsed.is_discarded() ? nlohmann::ordered_json(provenance) : parsed;
  }
  return out.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string TextDocument::subtitles(std::string_view format) const {
  std::vector<TextSpan> spans;
  for (const Entry& entry : entries_)
    for (const TextSpan& span : entry.text.spans)
      if (span.end_s > span.start_s) spans.push_back(span);
  if (spans.empty() && !plain().empty())
    throw Error(ErrorCode::format, "subtitles",
                "expected text with times, found none; subtitles need a recogniser that gives timestamps, write .txt "
                "instead");
  if (format == "tsv") return write_tsv(spans);
  const std::vector<Cue> cues = make_cues(spans);
  return format == "vtt" ? write_vtt(cues) : format == "ass" ? write_ass(cues) : write_srt(cues);
}

}  // namespace morph::text
