// What is asked of an engine, "this from those": which modality an input is, which pipeline makes it, what its ports
// are bound to, parameters as people write them, where the result goes, the record of how it was made. Every front end
// (command, server, notebook, farm) needs it; the engine knows no modality, the registry's sniffers, sources and sinks
// do.
//
//   Request request;
//   request.inputs = {input_of_text("Good morning.")};
//   request.output = {.type = ".flac", .bytes = [&](auto piece) { ... }};
//   run_request(engine, request);
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "morph/engine.h"

namespace morph {

class ByteFile;
class ScratchFolder;

/// One thing that goes in: a file, standard input, a text, bytes as a file would hold them, or values. A plain value.
struct RequestInput {
  std::string argument;                     ///< path, "-", the text itself, or a name for bytes and values
  std::string modality;                     ///< "audio", "text", "image", ...
  bool literal = false;                     ///< `argument` is the text itself
  std::shared_ptr<const ByteFile> bytes{};  ///< instead of a file
  std::vector<Packet> values{};             ///< instead of a file: what Run::feed sends
  Format format{};                          ///< of the values; a type of "": what the pipeline's input takes first
};

/// What an argument is: an existing file (modality from its content), "-" (standard input, modality peeked from its
/// first bytes; `stdin_type` overrides) or a prompt. Throws Error{config} for what looks like a path but is not there,
/// Error{format} for a file of no known kind.
RequestInput classify_input(const Engine& engine, const std::string& argument, const std::string& stdin_type);
RequestInput input_of_text(std::string text);
/// Bytes as a file would hold them (copied); `name` may help where the content alone does not tell (a suffix). Throws
/// Error{format} when they are of no known kind.
RequestInput input_of_bytes(const Engine& engine, std::span<const std::byte> bytes, const std::string& name = "bytes");
/// Payloads of that modality, at least one, all in `format` (left out: what the pipeline's input takes first).
RequestInput input_of_values(std::string modality, std::vector<Packet> values, Format format = {});

/// Modality of an output path by its suffix; of "-" and "" it is `type` (a modality or a suffix such as ".flac"), text
/// when that is empty. Throws Error{config} listing the known suffixes.
std::string output_modality(const Engine& engine, const std::string& path, const std::string& type);

/// The pipeline that takes exactly these inputs and makes this output: the one marked default among several. Throws
/// Error{pipeline} that lists what can be made from these inputs.
Pipeline choose_pipeline(const Engine& engine, const std::vector<RequestInput>& inputs, const std::string& output);

/// Binds inputs to source stages in the pipeline's port order by modality; inputs that are values stay unbound, to be
/// fed. Throws Error{pipeline} naming the port that has no input or the input that has no port.
std::vector<Binding> bind_inputs(const Engine& engine, const Pipeline& pipeline,
                                 const std::vector<RequestInput>& inputs);

/// The same, and the output to a sink.
/// `out` empty or "-": text to the terminal. Throws Error{config} when other than text has no place to go.
std::vector<Binding> bind_ports(const Engine& engine, const Pipeline& pipeline, const std::vector<RequestInput>& inputs,
                                const std::string& out, bool json);

/// True when an input is a pipe or device that delivers as time goes by (a microphone): a pipeline's `clock` parameter
/// is then "live" unless it was given.
bool is_live(const std::vector<RequestInput>& inputs);

/// Outputs that no binding reads: CompileOptions::unread, so that their packets are not waited for.
std::vector<std::string> unbound_outputs(const Pipeline& pipeline, const std::vector<Binding>& bindings);

/// Reads each "name=text" by the type of the parameter that it names and puts it into `compile`: a pipeline's own, or
/// "stage.param", or "in.<input>.param" and "out.<output>.param" for what the bindings of `compile` read and write. A
/// name that nothing has stays text; compile() reports it. Throws Error{config} for what is no assignment or not of the
/// type.
void assign_params(const Engine& engine, const Pipeline& pipeline, const std::vector<std::string>& assignments,
                   CompileOptions& compile);

/// Throws the first error of a compilation, with all of them in its message.
[[noreturn]] void throw_first(const std::string& pipeline, const std::vector<Diagnostic>& found);

/// Where the result goes: a path, or one of the two functions.
struct RequestOutput {
  std::string path{};  ///< a file, "-" (standard output); empty with a function
  std::string type{};  ///< what is made where no path says it: a modality or a suffix such as ".flac"
  /// The bytes of a whole file of that suffix, in pieces, once it is made; in the caller's thread.
  std::function<void(std::span<const std::byte>)> bytes{};
  /// Each packet as it comes (data, revise, flush; not the end); in the caller's thread.
  std::function<void(const Packet&)> values{};
};

struct Request {
  std::vector<RequestInput> inputs;
  RequestOutput output;
  std::string pipeline{};                  ///< name or file; empty: the default one for these modalities
  std::map<std::string, Value> params{};   ///< as CompileOptions::params
  std::vector<std::string> assignments{};  ///< the same as people write them, "name=text" (assign_params)
  std::string device{};                    ///< as CompileOptions::device
  std::uint64_t memory_budget = 0;
  RunOptions run{};
  std::function<void(double fraction, std::string_view what)> on_load{};
};

struct RequestResult {
  std::vector<std::string> files;  ///< that were written
  std::string provenance;          ///< the record, JSON; empty when no file was made
  std::vector<Diagnostic> notes;   ///< warnings of the compilation
  RunResult ended;                 ///< whether it is whole, and what is missing
  std::map<std::string, StageMetrics> metrics;
};

/// Does what is asked, from the choice of a pipeline to the record beside the output, in the caller's thread. Throws
/// Error: the first of the compilation's with all of them in its message, or what the run failed with.
RequestResult run_request(Engine& engine, const Request& request);

}  // namespace morph
