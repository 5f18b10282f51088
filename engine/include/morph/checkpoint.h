// Checkpoint: what the file of a saved run says about it (see Run::checkpoint, Engine::resume_run).
//
// A run that was begun with RunOptions::checkpoint can be saved as often as its owner likes. Its sinks keep what they
// have made in segments in a folder beside the file, NAME.parts; both together are what another process needs. When the
// run finishes, the folder goes and the file stays as a note of that.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "morph/pipeline.h"
#include "morph/run.h"

namespace morph {

/// A file that a run depends on, by content.
struct FileRecord {
  std::string name;            ///< for people: "whisper-base/model.safetensors"
  std::filesystem::path path;  ///< where it was
  std::string sha256;
};

/// The head of a checkpoint file. A value: change `options` (device, threads, memory budget, paths of sinks) before
/// resuming, and put observers into `run`.
struct Checkpoint {
  std::filesystem::path file;
  bool finished = false;   ///< nothing to go on with: the run came to its end
  Pipeline pipeline;       ///< flat, with every parameter
  CompileOptions options;  ///< bindings with absolute paths, and `n_threads` as they were
  RunOptions run;          ///< seed, priority, strict; `checkpoint` is the file
  std::vector<FileRecord> weights, inputs;
};

/// Throws Error{config} when there is no such file or it is of another version, Error{format} when it is damaged or cut
/// short.
Checkpoint read_checkpoint(const std::filesystem::path& file);
/// The folder of segments that belongs to a checkpoint file.
std::filesystem::path parts_folder(const std::filesystem::path& file);

}  // namespace morph
