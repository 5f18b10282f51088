// Wire form, version 3: text, language and its probability, spans (text, times, confidence, box flag and box, page,
// language, words with times and confidence), turn state, pause, stable bytes, answer end, last flag.
#include "text_payload.h"

#include <string>

#include "exec/wire.h"
#include "utf8.h"

namespace morph {

void Text::encode(std::vector<std::byte>& out) const {
  wire::Writer writer(out);
  writer.u8(3);
  writer.string(utf8);
  writer.string(language);
  writer.f32(language_probability);
  writer.u32(static_cast<std::uint32_t>(spans.size()));
  for (const TextSpan& span : spans) {
    writer.string(span.text);
    writer.f64(span.start_s);
    writer.f64(span.end_s);
    writer.f32(span.confidence);
    writer.boolean(span.box.has_value());
    if (span.box)
      for (float corner : *span.box) writer.f32(corner);
    writer.u32(static_cast<std::uint32_t>(span.page));
    writer.string(span.language);
    writer.u32(static_cast<std::uint32_t>(span.words.size()));
    for (const TextWord& word : span.words) {
      writer.string(word.text);
      writer.f64(word.start_s);
      writer.f64(word.end_s);
      writer.f32(word.confidence);
    }
  }
  writer.u8(static_cast<std::uint8_t>(turn_state));
  writer.u64(pause_index);
  writer.u64(stable_bytes);
  writer.u64(answer_end);
  writer.boolean(last_of_answer);
}

namespace text {

std::shared_ptr<const Payload> decode_text(std::span<const std::byte> body) {
  wire::Reader reader(body, "text");
  if (const int version = reader.u8(); version != 3)
    reader.fail("expected version 3 of a text, found " + std::to_string(version));
  auto value = std::make_shared<Text>();
  value->utf8 = reader.string();
  value->language = reader.string();
  value->language_probability = reader.f32();
  const std::size_t n_spans = reader.count(reader.u32(), 37);
  for (std::size_t i = 0; i < n_spans; ++i) {
    TextSpan span;
    span.text = reader.string();
    span.start_s = reader.f64();
    span.end_s = reader.f64();
    span.confidence = reader.f32();
    if (reader.boolean()) {
      span.box.emplace();
      for (float& corner : *span.box) corner = reader.f32();
    }
    const std::uint32_t page = reader.u32();
    if (page > 1u << 30) reader.fail("expected a page number, found " + std::to_string(page));
    span.page = static_cast<int>(page);
    span.language = reader.string();
    const std::size_t n_words = reader.count(reader.u32(), 24);
    for (std::size_t k = 0; k < n_words; ++k) {
      TextWord word;
      word.text = reader.string();
      word.start_s = reader.f64();
      word.end_s = reader.f64();
      word.confidence = reader.f32();
      span.words.push_back(std::move(word));
    }
    value->spans.push_back(std::move(span));
  }
  const std::uint8_t turn = reader.u8();
  if (turn > static_cast<std::uint8_t>(TurnState::final))
    reader.fail("expected a turn state 0..2, found " + std::to_string(turn));
  value->turn_state = static_cast<TurnState>(turn);
  value->pause_index = reader.u64();
  value->stable_bytes = static_cast<std::size_t>(reader.u64());
  value->answer_end = static_cast<std::size_t>(reader.u64());
  value->last_of_answer = reader.boolean();
  reader.expect_end();
  return value;
}

void save_text(const Text& text, wire::Writer& writer) {
  std::vector<std::byte> body;
  text.encode(body);
  writer.bytes(body);
}

Text restore_text(wire::Reader& reader) { return dynamic_cast<const Text&>(*decode_text(reader.bytes())); }

void guard_text(const Payload& payload, GuardReport& report) {
  const auto* value = dynamic_cast<const Text*>(&payload);
  if (value == nullptr) return;
  report.n_values += value->utf8.size();
  const bool piece = value->answer_end > 0 && !value->last_of_answer;
  report.unit_ends = value->turn_state == TurnState::final && !piece;
}

std::string sniff_text(std::span<const std::byte> head) {
  const std::string_view bytes(reinterpret_cast<const char*>(head.data()), head.size());
  if (bytes.empty()) return "";
  const std::optional<Utf8Fault> fault = find_utf8_fault(bytes);
  if (fault && !(fault->incomplete && fault->offset > 0)) return "";
  for (const char c : bytes) {
    const auto code = static_cast<unsigned char>(c);
    if (code == 0x7F || (code < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f')) return "";
  }
  return "text";
}

}  // namespace text
}  // namespace morph
