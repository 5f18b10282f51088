// The wire form of Text and how its streams are judged. Registered by stages/payload.cpp.
#pragma once

#include <memory>
#include <span>

#include "morph/guard.h"
#include "morph/text.h"

namespace morph::wire {
class Reader;
class Writer;
}  // namespace morph::wire

namespace morph::text {

/// Reads what Text::encode wrote. Throws Error{format}.
std::shared_ptr<const Payload> decode_text(std::span<const std::byte> body);

/// A text as part of a stage's saved state, and back.
void save_text(const Text& text, wire::Writer& writer);
Text restore_text(wire::Reader& reader);

/// Counts characters' bytes, so that an answer or a transcript without any is named.
void guard_text(const Payload& payload, GuardReport& report);

/// "text" for a file whose head is UTF-8 without control characters, else "".
std::string sniff_text(std::span<const std::byte> head);

}  // namespace morph::text
