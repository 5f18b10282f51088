// See saved_words.h.
#include "recognise/saved_words.h"

#include <utility>

namespace morph::audio {

void save_words(const std::vector<HeardWord>& words, wire::Writer& writer) {
  writer.u32(static_cast<std::uint32_t>(words.size()));
  for (const HeardWord& word : words) {
    writer.string(word.text);
    writer.f64(word.start_s);
    writer.f64(word.end_s);
    writer.f32(word.probability);
  }
}

std::vector<HeardWord> restore_words(wire::Reader& reader) {
  std::vector<HeardWord> words(reader.count(reader.u32(), 24));
  for (HeardWord& word : words) {
    word.text = reader.string();
    word.start_s = reader.f64();
    word.end_s = reader.f64();
    word.probability = reader.f32();
  }
  return words;
}

void save_spans(const std::vector<TextSpan>& spans, wire::Writer& writer) {
  writer.u32(static_cast<std::uint32_t>(spans.size()));
  for (const TextSpan& span : spans) {
    writer.string(span.text);
    writer.f64(span.start_s);
    writer.f64(span.end_s);
    writer.f32(span.confidence);
    writer.string(span.language);
    writer.u32(static_cast<std::uint32_t>(span.words.size()));
    for (const TextWord& word : span.words) {
      writer.string(word.text);
      writer.f64(word.start_s);
      writer.f64(word.end_s);
      writer.f32(word.confidence);
    }
  }
}

std::vector<TextSpan> restore_spans(wire::Reader& reader) {
  std::vector<TextSpan> spans(reader.count(reader.u32(), 32));
  for (TextSpan& span : spans) {
    span.text = reader.string();
    span.start_s = reader.f64();
    span.end_s = reader.f64();
    span.confidence = reader.f32();
    span.language = reader.string();
    span.words.resize(reader.count(reader.u32(), 24));
    for (TextWord& word : span.words) {
      word.text = reader.string();
      word.start_s = reader.f64();
      word.end_s = reader.f64();
      word.confidence = reader.f32();
    }
  }
  return spans;
}

void save_texts(const std::vector<std::string>& texts, wire::Writer& writer) { writer.value(texts); }

std::vector<std::string> restore_texts(wire::Reader& reader) {
  Value value = reader.value();
  auto* texts = std::get_if<std::vector<std::string>>(&value);
  if (texts == nullptr) reader.fail("expected a list of texts");
  return std::move(*texts);
}

}  // namespace morph::audio
