// SegmentFiles: what a sink has made so far, in numbered files beside the checkpoint of its run.
//
// An encoder in mid-file cannot be saved. A sink of a run that is saved therefore keeps what it was given in segments
// whose boundaries do not depend on when the run is saved or killed, and makes its output from them at the end: the
// same bytes, however often it was killed. A segment appears whole or not at all, and a checkpoint names only segments
// that are on the disk; those that a killed run added later are written again, with the same content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "exec/wire.h"

namespace morph::exec {

/// Not thread-safe.
class SegmentFiles {
 public:
  /// Makes the folder when it is not there. Throws Error{config} when it cannot be made.
  explicit SegmentFiles(std::filesystem::path folder);

  /// The next segment, synchronised to the disk. Throws Error{resource} when it is full.
  void add(std::span<const std::byte> bytes);
  std::size_t size() const { return segments_.size(); }
  /// Throws Error{format} for a segment that is gone or not what was added.
  std::vector<std::byte> read(std::size_t index) const;

  /// How many there are, with their sizes and checksums; restore() also looks whether they are all there.
  void save(wire::Writer& writer) const;
  void restore(wire::Reader& reader);

 private:
  struct Segment {
    std::uint64_t n_bytes = 0;
    std::uint32_t crc = 0;
  };
  std::filesystem::path path_of(std::size_t index) const;

  std::filesystem::path folder_;
  std::vector<Segment> segments_;
};

/// Writes a file whole or not at all, whatever happens to the machine: as `temporary` (empty: NAME.new beside it),
/// synchronised, renamed. A killed process leaves the temporary file, which the next write replaces. Throws
/// Error{config} when the folder cannot be written to, Error{resource} when the disk is full.
void write_durably(const std::filesystem::path& file, std::span<const std::byte> head,
                   std::span<const std::byte> body = {}, std::filesystem::path temporary = {});

}  // namespace morph::exec
