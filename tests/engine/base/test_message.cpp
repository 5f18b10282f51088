// Messages: never more than text, and never more than best effort.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <csignal>
#include <string>

#include "morph/message.h"

namespace morph {
namespace {

/// Another standard error for as long as this lives.
class StandardError {
 public:
  explicit StandardError(int descriptor) : saved_(::dup(STDERR_FILENO)) { ::dup2(descriptor, STDERR_FILENO); }
  ~StandardError() {
    ::dup2(saved_, STDERR_FILENO);
    ::close(saved_);
  }
  StandardError(const StandardError&) = delete;
  StandardError& operator=(const StandardError&) = delete;

 private:
  int saved_;
};

TEST_CASE("text from elsewhere is shown without what would drive a terminal", "[unit][hostile]") {
  CHECK(shown_text("plain text, caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80") ==
        "plain text, caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
  CHECK(shown_text("\x1b[31m\a\b\x7f\r") == "\\x1b[31m\\x07\\x08\\x7f\\x0d");
  CHECK(shown_text("one\ntwo\t") == "one\\x0atwo\\x09");
  CHECK(shown_text("one\ntwo\t", true) == "one\ntwo\t");
  CHECK(shown_text("\xc2\x9b"
                   "2J") == "\\xc2\\x9b2J");  // C1: the same as ESC [
  CHECK(shown_text("a\xe2\x80\xae"
                   "b") ==
        "a\\xe2\\x80\\xae"
        "b");  // right-to-left override
  CHECK(shown_text("a\xe2\x81\xa6"
                   "b") ==
        "a\\xe2\\x81\\xa6"
        "b");  // isolate
  CHECK(shown_text("a\xe2\x80\xa8"
                   "b") ==
        "a\\xe2\\x80\\xa8"
        "b");                                                                  // line separator
  CHECK(shown_text("\xff\xfe caf\xe9") == "\\xff\\xfe caf\\xe9");              // not UTF-8
  CHECK(shown_text("\xc0\x8a \xed\xa0\x80") == "\\xc0\\x8a \\xed\\xa0\\x80");  // overlong, surrogate
  CHECK(shown_text(std::string_view("a\0b", 3)) ==
        "a\\x00"
        "b");
  // Whatever the bytes: nothing below a space, and shown twice is as shown once.
  for (int first = 0; first < 256; ++first)
    for (int second = 0; second < 256; second += 5) {
      const std::string text{static_cast<char>(first), static_cast<char>(second), '\x80', 'z'};
      const std::string shown = shown_text(text);
      for (const char c : shown) CHECK_FALSE(static_cast<unsigned char>(c) < 0x20);
      CHECK(shown_text(shown) == shown);
    }
}

TEST_CASE("messages to a standard error that is closed, full or not read are lost and nothing else",
          "[unit][hostile]") {
  std::signal(SIGPIPE, SIG_IGN);
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  {
    const StandardError unread(pipe[1]);
    const std::string line(1000, 'x');
    for (int i = 0; i < 3000; ++i) write_message(line);  // more than the pipe and the memory for waiting ones take
    flush_messages(std::chrono::milliseconds(1));
    std::array<char, 1 << 16> taken{};
    CHECK(::read(pipe[0], taken.data(), taken.size()) > 0);
    CHECK(taken[0] == 'x');
    write_message("more");  // the rest goes out as it is read
    CHECK(::read(pipe[0], taken.data(), taken.size()) > 0);
    ::close(pipe[0]);
    write_message("nobody reads");
    flush_messages(std::chrono::milliseconds(1));
  }
  {
    const StandardError closed(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    write_message("cannot be written");
  }
  if (const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC); full >= 0) {
    const StandardError device(full);
    write_message("the disk is full");
  }
  ::close(pipe[1]);
}

}  // namespace
}  // namespace morph
