// Words and spans as part of a listener's saved state, and back. Error{format} for damaged bytes.
#pragma once

#include <vector>

#include "exec/wire.h"
#include "morph/text.h"
#include "recognise/recogniser.h"

namespace morph::audio {

void save_words(const std::vector<HeardWord>& words, wire::Writer& writer);
std::vector<HeardWord> restore_words(wire::Reader& reader);
void save_spans(const std::vector<TextSpan>& spans, wire::Writer& writer);
std::vector<TextSpan> restore_spans(wire::Reader& reader);
void save_texts(const std::vector<std::string>& texts, wire::Writer& writer);
std::vector<std::string> restore_texts(wire::Reader& reader);

}  // namespace morph::audio
