// What is said to a person: best effort, and never more than text.
//
// Messages never decide results: a standard error that is closed, full or slow costs the message, not the run. What
// comes from files, hubs and their names is shown with its control bytes spelled out, so that nobody's file writes to
// the terminal as it likes.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace morph {

/// Writes to standard error what it takes at once; the rest waits (1 MiB at most, what is beyond is dropped and
/// counted) and goes out with the next message. Never blocks, never throws, never raises SIGPIPE in a host that ignores
/// it. Thread-safe; a message is never torn by another one.
void write_message(std::string_view text) noexcept;

/// Before the program ends: waits until all messages are out, for as long as the reader takes some at least every
/// `patience`.
void flush_messages(std::chrono::milliseconds patience) noexcept;

/// `bytes` fit to be shown: control characters (C0, delete, C1), marks that turn the direction of writing, separators
/// of lines and what is not UTF-8 become their bytes in hexadecimal (\x1b). `lines` keeps line feeds and tabs.
std::string shown_text(std::string_view bytes, bool lines = false);

}  // namespace morph
