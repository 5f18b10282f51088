// Logging of the engine: leveled lines to one sink that the host program chooses (stderr by default).
// Implemented on spdlog, which public headers don't show.
#pragma once

#include <functional>
#include <string_view>

namespace morph {

enum class LogLevel : unsigned char { trace, debug, info, warning, error, off };

/// Lines below `level` are dropped. Default: warning, or what the MORPH_LOG environment variable names.
void set_log_level(LogLevel level);
LogLevel log_level();

/// Replaces the sink. Called from any thread, also from several at once and with no lock of ours held, so that it may
/// log, or wait for something that logs. Without a trailing newline.
void set_log_sink(std::function<void(LogLevel, std::string_view)> sink);

/// Writes one line. `component` is a short path such as "exec/scheduler".
void log(LogLevel level, std::string_view component, std::string_view message);

}  // namespace morph
