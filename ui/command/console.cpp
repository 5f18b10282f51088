// Terminal output of the command. See console.h.
#include "console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "morph/message.h"

namespace morph::command {
namespace {

long long now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

bool colour() { return isatty(STDERR_FILENO) != 0; }

/// To standard output, without an exception where there is one already: main() looks whether all of it was written.
void print_line(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
}

}  // namespace

void hold_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(descriptor, F_GETFD) < 0)  // the lowest free number is this one; what is written there fails as it did
      static_cast<void>(::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY));
}

ProgressLine::ProgressLine(bool quiet) : enabled_(!quiet && isatty(STDERR_FILENO) != 0) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::show(double fraction, std::string_view what) {
  if (!enabled_) return;
  std::lock_guard lock(mutex_);
  const long long now = now_ms();
  if (shown_ && fraction < 1.0 && now - last_ms_ < 50) return;
  last_ms_ = now;
  constexpr int kWidth = 30;
  const int filled = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * kWidth);
  const std::string line =
      fmt::format("\r\033[K{:>3.0f}% [{}{}] {}", 100 * std::clamp(fraction, 0.0, 1.0),
                  std::string(static_cast<std::size_t>(filled), '#'),
                  std::string(static_cast<std::size_t>(kWidth - filled), '.'), shown_text(what.substr(0, 60)));
  write_message(line);
  shown_ = true;
}

void ProgressLine::clear() {
  std::lock_guard lock(mutex_);
  if (!shown_) return;
  write_message("\r\033[K");
  shown_ = false;
}

int report_error(const Error& error, bool json) {
  if (json) {
    const nlohmann::json object = {
        {"error",
         {{"code", std::string(to_string(error.code()))}, {"where", error.where()}, {"message", error.message()}}}};
    print_line(object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    write_message(fmt::format("{}error{} ({}): {}\n", colour() ? "\033[1;31m" : "", colour() ? "\033[0m" : "",
                              to_string(error.code()), shown_text(error.what(), true)));
  }
  return exit_code(error.code());
}

int report_diagnostics(const std::vector<Diagnostic>& diagnostics, bool json) {
  int code = 0;
  nlohmann::json list = nlohmann::json::array();
  for (const Diagnostic& diagnostic : diagnostics) {
    const bool is_error = diagnostic.severity == Diagnostic::Severity::error;
    if (is_error && code == 0) code = exit_code(diagnostic.code);
    const char* severity = is_error                                               ? "error"
                           : diagnostic.severity == Diagnostic::Severity::warning ? "warning"
                                                                                  : "note";
    if (json) {
      list.push_back({{"severity", severity},
                      {"code", std::string(to_string(diagnostic.code))},
                      {"where", diagnostic.where},
                      {"message", diagnostic.message}});
    } else if (diagnostic.severity != Diagnostic::Severity::note) {
      const char* paint = !colour() ? "" : is_error ? "\033[1;31m" : "\033[1;33m";
      write_message(fmt::format("{}{}{} ({}): {}{}{}\n", paint, severity, colour() ? "\033[0m" : "",
                                to_string(diagnostic.code), shown_text(diagnostic.where),
                                diagnostic.where.empty() ? "" : ": ", shown_text(diagnostic.message, true)));
    }
  }
  if (json && code != 0)
    print_line(nlohmann::json{{"diagnostics", list}}.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return code;
}

std::string default_note(const ParamSpec& param) {
  if (std::holds_alternative<std::monostate>(param.default_value)) return fmt::format(" ({})", to_string(param.type));
  return fmt::format(" ({}, default {})", to_string(param.type), to_string(param.default_value));
}

std::string human_bytes(unsigned long long bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

unsigned long long parse_bytes(const std::string& text, const std::string& where) {
  std::size_t used = 0;
  double value = -1;
  try {
    value = std::stod(text, &used);
  } catch (const std::logic_error&) {
    used = 0;
  }
  std::string unit;
  for (char c : text.substr(used)) {
    if (std::isspace(static_cast<unsigned char>(c)) == 0) unit += static_cast<char>(std::tolower(c));
  }
  double factor = 0;
  if (unit.empty() || unit == "b") factor = 1;
  for (int power = 1; const char* prefix : {"k", "m", "g", "t"}) {
    const std::string p = prefix;
    if (unit == p || unit == p + "ib" || unit == p + "b") factor = std::pow(1024.0, power);
    ++power;
  }
  if (used == 0 || factor == 0 || !(value > 0) || value * factor > 1e18)
    throw Error(ErrorCode::config, where, "expected a size such as 2GiB, 512M or 1073741824, found \"" + text + "\"");
  return static_cast<unsigned long long>(value * factor);
}

}  // namespace morph::command
