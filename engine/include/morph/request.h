// What is asked of an engine, "this from those": which modality an input is, which pipeline makes it, what its ports
// are bound to. Every front end needs it before there is a plan; the engine knows no modality, the registry's sniffers,
// sources and sinks do.
#pragma once

#include <string>
#include <vector>

#include "morph/engine.h"

namespace morph {

/// One thing that goes in.
struct RequestInput {
  std::string argument;  ///< path, "-" or the prompt itself
  std::string modality;  ///< "audio", "text", "image", ...
  bool literal = false;  ///< a prompt, not a file
};

/// What an argument is: an existing file (modality from its content), "-" (standard input, modality peeked from its
/// first bytes; `stdin_type` overrides) or a prompt. Throws Error{config} for what looks like a path but is not there,
/// Error{format} for a file of no known kind.
RequestInput classify_input(const Engine& engine, const std::string& argument, const std::string& stdin_type);

/// Modality of an output path by its suffix ("-" and "" are text); throws Error{config} listing the known suffixes.
std::string output_modality(const Engine& engine, const std::string& path, const std::string& stdout_type);

/// The pipeline that takes exactly these inputs and makes this output: the one marked default among several. Throws
/// Error{pipeline} that lists what can be made from these inputs.
Pipeline choose_pipeline(const Engine& engine, const std::vector<RequestInput>& inputs, const std::string& output);

/// Binds inputs to source stages in the pipeline's port order by modality, and the output to a sink.
/// `out` empty or "-": text to the terminal. Throws Error{pipeline} naming the port that has no input or the input
/// that has no port.
std::vector<Binding> bind_ports(const Engine& engine, const Pipeline& pipeline, const std::vector<RequestInput>& inputs,
                                const std::string& out, bool json);

/// True when an input is a pipe or device that delivers as time goes by (a microphone): a pipeline's `clock` parameter
/// is then "live" unless it was given.
bool is_live(const std::vector<RequestInput>& inputs);

/// Outputs that no binding reads: CompileOptions::unread, so that their packets are not waited for.
std::vector<std::string> unbound_outputs(const Pipeline& pipeline, const std::vector<Binding>& bindings);

}  // namespace morph
