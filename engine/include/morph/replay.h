// Making an output again from the record that it carries (morph/provenance.h). The record comes with the file, from
// anyone: inputs must be what they were by their hash, weights too, and nothing is written but where the caller says.
#pragma once

#include <cstdint>
#include <string>

#include "morph/engine.h"

namespace morph {

/// A record that has all that making its output again takes.
struct ReplayRecord {
  std::string file;  ///< it came from, for messages
  std::string text;  ///< JSON
  std::uint64_t seed = 0;
  int n_threads = 1;  ///< as then, within what this process may use: the result depends on it
};

/// Throws Error{format} for a file without a record, or one that is damaged; Error{config} when texts or folders were
/// left out of it.
ReplayRecord read_replay(const std::string& file);

/// What makes the output again, into `out`.
struct ReplayRequest {
  Pipeline pipeline;
  CompileOptions compile;
};
/// `engine` has the record's number of threads. Throws Error{config} for inputs that are gone or changed,
/// Error{weights} for other weights than then, Error{format} for a record that would write elsewhere than to `out`, and
/// the first of the compilation's errors.
ReplayRequest prepare_replay(const Engine& engine, const ReplayRecord& record, const std::string& out);

}  // namespace morph
