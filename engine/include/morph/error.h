// Errors of the engine: one exception type, grouped by what a caller can do about it.
//
// Thrown anywhere; caught only at the edges (a stage step, a task, the command line, Python, HTTP).
// Validation does not throw: it returns every Diagnostic it found.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace morph {

/// What went wrong, by who can mend it.
enum class ErrorCode : std::uint8_t {
  config,     ///< a wrong option, parameter or environment
  pipeline,   ///< a pipeline document or graph that cannot run
  format,     ///< input bytes that are not what they claim to be (media, text, JSON)
  weights,    ///< a model that is missing, damaged or misshapen
  device,     ///< a device that is absent or cannot run what was asked
  resource,   ///< memory, disk, network, a budget that would be exceeded
  cancelled,  ///< the run was cancelled by its owner
  internal,   ///< a defect of ours
};

/// "config", "pipeline", ... as printed and as found in JSON output.
std::string_view to_string(ErrorCode code);

/// Process exit code of an error group: config 2, pipeline 3, format 4, weights 5, device 6, resource 7,
/// cancelled 130, internal 70. Success is 0, other failures 1.
int exit_code(ErrorCode code);

/// The engine's exception. `where` is a path such as "pipeline/stage/port" or "file.safetensors/tensor";
/// `what` says what was expected, what was found and what to do. Copyable, immutable, thread-safe.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string where, const std::string& message)
      : std::runtime_error(where.empty() ? message : where + ": " + message),
        code_(code),
        where_(std::move(where)),
        message_(message) {}

  ErrorCode code() const { return code_; }
  const std::string& where() const { return where_; }
  /// The message without the place.
  const std::string& message() const { return message_; }

 private:
  ErrorCode code_;
  std::string where_;
  std::string message_;
};

/// One finding of validation. Warnings do not stop a pipeline from running.
struct Diagnostic {
  enum class Severity : std::uint8_t { error, warning, note };
  Severity severity = Severity::error;
  ErrorCode code = ErrorCode::pipeline;
  std::string where;
  std::string message;
  // What `where` names, as fields for programs; empty when it is not about one.
  std::string stage{};      ///< node's name in the flattened graph: "hear", "outer/inner"
  std::string port{};       ///< of that stage
  std::string parameter{};  ///< of that stage, or of the pipeline when `stage` is empty
};

}  // namespace morph
