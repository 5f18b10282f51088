// Provenance: what made an output (pipeline, parameters, inputs, seed, weights with their sha256), and reading it
// back from a file for `morph replay`.
//
// In a file it is the text "morph-provenance:1:<bytes>:<JSON>" in whatever metadata field the container has (WAV and
// FLAC comment, Vorbis comment, ID3, MP4 udta); the JSON is plain ASCII, so a search for the marker finds it in all of
// them. Plain text files cannot carry metadata: theirs is in a file beside them, NAME.provenance.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "morph/engine.h"

namespace morph {

/// Lower-case hex sha256 of a file; throws Error{resource} when it cannot be read. Remembers results by path, size and
/// modification time in <cache>/hashes.json, so weights are hashed once.
std::string file_sha256(const std::filesystem::path& file, bool remember);

/// How much a record says.
enum class Provenance : std::uint8_t {
  full,      ///< all that making it again takes
  discreet,  ///< names of files without their folders, no texts that a person wrote ("left_out" lists them)
  none,      ///< no record
};

/// The record of one run as JSON. Inputs are files (with their hash) or literal texts.
std::string make_provenance(const Engine& engine, const Plan& plan, std::uint64_t seed,
                            Provenance extent = Provenance::full);

/// Names of files are bytes. As JSON: a string, or {"bytes": hexadecimal digits} for what is not UTF-8.
std::string text_as_json(const std::string& text);
/// Bytes of lower-case hexadecimal digits; nothing for other text.
std::optional<std::string> from_hexadecimal(const std::string& digits);

/// A plan whose sinks carry the record of how they were made, and that record.
struct RecordedPlan {
  std::shared_ptr<const Plan> plan;
  std::string record;
};
/// `plan` with make_provenance()'s record in every sink that can carry one. Nothing is compiled again.
RecordedPlan record_plan(const Engine& engine, const std::shared_ptr<const Plan>& plan, std::uint64_t seed,
                         Provenance extent = Provenance::full);

/// Puts the record beside an output whose container could not take it (plain text, raw samples), and takes away one of
/// an older output of that name. Throws Error{config} or Error{resource} when that cannot be done.
void keep_provenance(const std::string& path, const std::string& record);

/// "morph-provenance:1:<bytes>:<JSON>", ASCII only.
std::string embed_provenance(const std::string& record);

/// The record (JSON) in the bytes of an output; nothing when there is none. Throws Error{format} at `where` when it is
/// damaged or beyond the limits.
std::optional<std::string> find_provenance(std::string_view bytes, const std::string& where);

/// The record (JSON) in an output file or in the file beside it; nothing when there is none. Throws Error{format} when
/// it is damaged, beyond what a record may have (4 MiB, 64 levels) or in no regular file.
std::optional<std::string> read_provenance(const std::filesystem::path& file);

}  // namespace morph
