// What a person sees on a terminal: progress, diagnostics, errors. Everything here goes to stderr, so that stdout
// holds nothing but results.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "morph/error.h"
#include "morph/stage.h"

namespace morph::command {

/// A one-line progress bar on a terminal; nothing in a pipe or when `quiet`. Thread-safe.
class ProgressLine {
 public:
  explicit ProgressLine(bool quiet);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// `fraction` 0..1; `what` is a few words. Redraws at most 20 times a second.
  void show(double fraction, std::string_view what);
  /// Removes the line, so that other text can be printed.
  void clear();

 private:
  std::mutex mutex_;
  bool enabled_;
  bool shown_ = false;
  long long last_ms_ = 0;
};

/// Standard streams that were closed when the program began: their numbers are taken, so that no file that is opened
/// later gets one, is read as input or is written over by a message. Call first thing in main.
void hold_standard_descriptors();

/// "error: ..." with colour on a terminal, or one JSON object when `json`. Returns the process exit code.
int report_error(const Error& error, bool json);
/// Prints diagnostics, errors last. Returns the exit code of the first error, or 0.
int report_diagnostics(const std::vector<Diagnostic>& diagnostics, bool json);

/// " (integer, default 16000)", " (number)": what help says after a parameter's meaning.
std::string default_note(const ParamSpec& param);
/// "1.5 GiB", "312 MiB", "4.0 KiB".
std::string human_bytes(unsigned long long bytes);
/// "2GiB", "512M", "1.5g", "1073741824" in bytes; throws Error{config}.
unsigned long long parse_bytes(const std::string& text, const std::string& where);

}  // namespace morph::command
