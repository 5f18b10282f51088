// See morph/message.h. Standard error is asked with poll before each piece; a pipe that says it can be written to has
// room for PIPE_BUF bytes (pipe(7)), so that pieces of that size do not block. There is no thread.
#include "morph/message.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <mutex>

namespace morph {
namespace {

constexpr std::size_t kMostWaiting = 1u << 20;

class MessageWriter {
 public:
  void write(std::string_view text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    pump(0);
    if (waiting_.size() + text.size() > kMostWaiting) {
      ++n_dropped_;
      return;
    }
    if (n_dropped_ > 0) {
      waiting_ += fmt::format("({} messages were dropped: standard error was not read)\n", n_dropped_);
      n_dropped_ = 0;
    }
    waiting_ += text;
    pump(0);
  }

  void flush(std::chrono::milliseconds patience) {
    const std::lock_guard<std::mutex> lock(mutex_);
    pump(static_cast<int>(patience.count()));
  }

 private:
  /// Writes while standard error takes something within `patience_ms`.
  void pump(int patience_ms) {
    while (!waiting_.empty()) {
      pollfd asked{STDERR_FILENO, POLLOUT, 0};
      const int ready = ::poll(&asked, 1, patience_ms);
      if (ready < 0 && errno == EINTR) continue;
      if (ready == 0) return;
      const ssize_t n = ::write(STDERR_FILENO, waiting_.data(), std::min<std::size_t>(waiting_.size(), PIPE_BUF));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0)
        waiting_.clear();  // closed, full or without a reader
      else
        waiting_.erase(0, static_cast<std::size_t>(n));
    }
  }

  std::mutex mutex_;
  std::string waiting_;
  std::uint64_t n_dropped_ = 0;
};

MessageWriter& writer() {
  static MessageWriter& instance = *new MessageWriter;  // threads may speak while the process ends
  return instance;
}

/// Bytes of the UTF-8 character that `text` begins with, and its code point; 0 when there is none.
std::size_t decode(std::string_view text, std::uint32_t& code) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t n = byte(0) < 0x80 ? 1 : byte(0) < 0xc2 ? 0 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : 4;
  if (n == 0 || n > text.size() || byte(0) > 0xf4) return 0;
  code = n == 1 ? byte(0) : byte(0) & (0x7fu >> n);
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3fu);
  }
  constexpr std::array<std::uint32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  return code < kLeast[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

bool is_control(std::uint32_t code, bool lines) {
  if (lines && (code == '\n' || code == '\t')) return false;
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c || code == 0x200e || code == 0x200f ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff ||
         (code >= 0xfff9 && code <= 0xfffb) || (code >= 0xe0000 && code < 0xe1000);
}

}  // namespace

void write_message(std::string_view text) noexcept {
  try {
    writer().write(text);
  } catch (const std::exception&) {  // an edge: no memory for a message
  }
}

void flush_messages(std::chrono::milliseconds patience) noexcept {
  try {
    writer().flush(patience);
  } catch (const std::exception&) {  // an edge: as above
  }
}

std::string shown_text(std::string_view bytes, bool lines) {
  std::string shown;
  shown.reserve(bytes.size());
  while (!bytes.empty()) {
    std::uint32_t code = 0;
    const std::size_t n = decode(bytes, code), taken = std::max<std::size_t>(n, 1);
    if (n > 0 && !is_control(code, lines))
      shown += bytes.substr(0, n);
    else
      for (const char byte : bytes.substr(0, taken))
        shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    bytes.remove_prefix(taken);
  }
  return shown;
}

}  // namespace morph
