// The engine's log on spdlog: one logger that belongs to no spdlog registry, whose sink is the host's function or
// stderr. Made on first use; a host that sets a sink before it makes an Engine sees every line.
#include "morph/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/sink.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "morph/message.h"

namespace morph {
namespace {

constexpr std::array<std::pair<std::string_view, LogLevel>, 7> kNames{{{"trace", LogLevel::trace},
                                                                       {"debug", LogLevel::debug},
                                                                       {"info", LogLevel::info},
                                                                       {"warning", LogLevel::warning},
                                                                       {"warn", LogLevel::warning},
                                                                       {"error", LogLevel::error},
                                                                       {"off", LogLevel::off}}};

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::trace:
      return spdlog::level::trace;
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::off:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

LogLevel from_spdlog(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
      return LogLevel::trace;
    case spdlog::level::debug:
      return LogLevel::debug;
    case spdlog::level::info:
      return LogLevel::info;
    case spdlog::level::warn:
      return LogLevel::warning;
    case spdlog::level::err:
    case spdlog::level::critical:
      return LogLevel::error;
    default:
      return LogLevel::off;
  }
}

LogLevel level_from_environment() {
  if (const char* name = std::getenv("MORPH_LOG")) {
    for (const auto& [text, level] : kNames)
      if (text == name) return level;
  }
  return LogLevel::warning;
}

/// Hands lines to the host's function, or to stderr while there is none. The function is called without our lock: it
/// may log itself, or wait for a thread that does.
class HostSink final : public spdlog::sinks::sink {
 public:
  using Host = std::function<void(LogLevel, std::string_view)>;
  HostSink() : formatter_(std::make_unique<spdlog::pattern_formatter>("%H:%M:%S.%e %l %v")) {}
  void set(Host host) {
    auto next = host ? std::make_shared<const Host>(std::move(host)) : nullptr;
    const std::lock_guard<std::mutex> lock(mutex_);
    host_.swap(next);
  }

  void log(const spdlog::details::log_msg& message) override {
    std::shared_ptr<const Host> host;
    spdlog::memory_buf_t line;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      host = host_;
      if (!host) formatter_->format(message, line);
    }
    if (host)
      (*host)(from_spdlog(message.level), std::string_view(message.payload.data(), message.payload.size()));
    else
      write_message(shown_text(std::string_view(line.data(), line.size()), true));
  }
  void flush() override {}
  void set_pattern(const std::string& pattern) override {
    set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern));
  }
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    formatter_ = std::move(formatter);
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<const Host> host_;
  std::unique_ptr<spdlog::formatter> formatter_;
};

struct LogState {
  std::shared_ptr<HostSink> sink = std::make_shared<HostSink>();
  spdlog::logger logger{"morph", sink};

  LogState() {
    logger.set_level(to_spdlog(level_from_environment()));
    logger.flush_on(spdlog::level::warn);
  }
};

LogState& state() {
  static LogState instance;
  return instance;
}

}  // namespace

void set_log_level(LogLevel level) { state().logger.set_level(to_spdlog(level)); }

LogLevel log_level() { return from_spdlog(state().logger.level()); }

void set_log_sink(std::function<void(LogLevel, std::string_view)> sink) { state().sink->set(std::move(sink)); }

void log(LogLevel level, std::string_view component, std::string_view message) {
  spdlog::logger& logger = state().logger;
  const spdlog::level::level_enum wanted = to_spdlog(level);
  if (level == LogLevel::off || !logger.should_log(wanted)) return;
  std::string line;
  line.reserve(component.size() + 2 + message.size());
  line.append(component).append(": ").append(message);
  logger.log(wanted, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace morph
