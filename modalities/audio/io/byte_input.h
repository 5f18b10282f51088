// Standard input as bytes: looked at without taking anything (a pipeline is checked before it runs, and may be checked
// twice), then read as it comes.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace morph::audio {

/// The first bytes of a descriptor, up to `most`, without consuming them: pread on files, tee(2) on pipes, MSG_PEEK on
/// sockets. Waits until `enough(bytes)` or the end of the stream. Throws Error{config} for a terminal.
std::vector<std::byte> peek_bytes(int descriptor, std::size_t most,
                                  const std::function<bool(std::span<const std::byte>)>& enough);

enum class ReadStatus { some, waiting, end };
/// Reads what is there into `out` (appended, up to `most`); `waiting` after `timeout_ms` without a byte. Throws
/// Error{resource} when reading fails.
ReadStatus read_some(int descriptor, std::size_t most, int timeout_ms, std::vector<std::byte>& out);

}  // namespace morph::audio
