// Checkpoints: a paused run as bytes, and back. A file is
//   "MORPHRUN" | version u32 | CRC-32 u32 of the rest | finished u8 | header | nodes | links
// where the header is what morph/checkpoint.h shows, a node its position, guards, metrics and what StageState::save()
// gave, and a link its queued packets in the wire codec. Of a finished run there is the header only.
#pragma once

#include <cstddef>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "exec/run_graph.h"
#include "morph/checkpoint.h"

namespace morph::exec {

/// What must be taken at one moment, with the lock held and nothing running. States are named, not copied: they must
/// not be stepped nor destroyed before it was written (RunGraph::saving).
struct RunSnapshot {
  struct Node {
    std::string name, type;
    bool done = false;
    StepStatus last = StepStatus::ready;
    std::uint8_t events = 0;
    std::uint64_t epoch = 0;
    std::map<int, std::uint64_t> flushed_by, pending_flushes;
    Params params;
    std::vector<LossReport> losses;
    std::vector<std::uint64_t> next_sequences;
    std::deque<ControlEvent> controls;
    std::vector<GuardReport> guards;
    StageMetrics metrics;
    const StageState* state = nullptr;  ///< null: none, or no longer of use
    std::string where;
  };
  struct Link {
    std::uint64_t epoch = 0, capacity = 0;
    bool ended = false, closed = false;
    std::deque<Packet> packets;
  };
  std::vector<Node> nodes;
  std::vector<Link> links;
  FinishReason finish = FinishReason::none;
};

/// Throws Error{pipeline} naming every stage that cannot be saved.
RunSnapshot snapshot_run(const RunGraph& graph);
/// All that follows the checksum. Lock not held. Throws what StageState::save() throws, with its place.
std::vector<std::byte> encode_run(const Checkpoint& origin, const RunSnapshot& snapshot);
/// The same for a run that came to its end.
std::vector<std::byte> encode_finished(const Checkpoint& origin);
/// Adds the head and writes the file durably; `temporary` is on the same file system, empty: beside the file. Throws
/// Error{config} when the folder cannot be written to, Error{resource} when the disk is full.
void write_checkpoint(const std::filesystem::path& file, std::span<const std::byte> body,
                      const std::filesystem::path& temporary);
/// read_checkpoint() of bytes. Throws Error{format} naming `file`, Error{config} for another version.
Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::filesystem::path& file);
/// Opens states and fills queues of a new graph. Throws Error{format} for damaged bytes, Error{pipeline} when the file
/// belongs to another pipeline, Error{config} for a run that is finished and without a registry (payload decoders).
void restore_run(RunGraph& graph, const std::filesystem::path& file, const Registry* registry);

}  // namespace morph::exec
