// The head of a checkpoint file as bytes, and back; see checkpoint.h.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "exec/wire.h"
#include "morph/checkpoint.h"

namespace morph::exec {

inline constexpr std::size_t kCheckpointHeadBytes = 16;

/// What goes before `body`: magic, version, checksum.
std::vector<std::byte> checkpoint_head(std::span<const std::byte> body);
void write_header(wire::Writer& writer, const Checkpoint& checkpoint);
/// Throws Error{config} when there is no such file, Error{resource} when it cannot be read.
std::vector<std::byte> read_checkpoint_file(const std::filesystem::path& file);
/// Checks the whole of `bytes`, which `reader` stands at the beginning of, and leaves it behind the header. Throws as
/// read_checkpoint() does.
Checkpoint read_head(wire::Reader& reader, std::span<const std::byte> bytes, const std::filesystem::path& file);

/// Throws Error{config} for the note of a run that came to its end.
void refuse_finished(const Checkpoint& checkpoint);

}  // namespace morph::exec
