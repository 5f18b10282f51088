// Checkpoints: a paused run as bytes, and back. A file is
//   "MORPHRUN" | version u32 | CRC-32 u32 of the rest | header | nodes | links
// where the header holds the pipeline document and how it was compiled, a node its position and what
// StageState::save() gave, and a link its queued packets in the wire codec.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "exec/executors.h"
#include "exec/run_graph.h"

namespace morph::exec {

/// All that follows the checksum. Lock held, nothing running: no other run goes on meanwhile, so only what must be
/// taken at one moment is done here. Throws Error{pipeline} naming every stage that cannot be saved.
std::vector<std::byte> save_run(const RunGraph& graph);
/// Adds the head and writes the file (see OutputFile). Lock not held. Throws Error{config} when the folder cannot be
/// written to, Error{resource} when the disk is full.
void write_checkpoint(const std::filesystem::path& file, std::span<const std::byte> body);
/// Opens states and fills queues of a new graph. Throws Error{format} for damaged bytes, Error{pipeline} when the file
/// belongs to another pipeline, Error{config} without a registry (payload decoders).
void restore_run(RunGraph& graph, const std::filesystem::path& file, const Registry* registry);

}  // namespace morph::exec
