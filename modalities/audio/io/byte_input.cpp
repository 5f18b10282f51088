// See byte_input.h.
#include "io/byte_input.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "morph/error.h"

namespace morph::audio {
namespace {

struct Descriptor {
  int number;
  ~Descriptor() { ::close(number); }
};

[[noreturn]] void fail(const char* what) {
  throw Error(ErrorCode::resource, "stdin", std::string(what) + ": " + std::strerror(errno));
}

std::vector<std::byte> read_whole(int descriptor, std::size_t most) {
  std::vector<std::byte> bytes(most);
  std::size_t n = 0;
  while (n < most) {
    const ssize_t got = ::read(descriptor, bytes.data() + n, most - n);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    n += static_cast<std::size_t>(got);
  }
  bytes.resize(n);
  return bytes;
}

/// A copy of what waits in a pipe.
std::vector<std::byte> tee_pipe(int descriptor, std::size_t most) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail("no pipe can be made");
  const Descriptor reader{ends[0]};
  ssize_t n;
  {
    const Descriptor writer{ends[1]};
    n = ::tee(descriptor, writer.number, most, SPLICE_F_NONBLOCK);
    if (n < 0 && errno != EAGAIN) fail("standard input cannot be looked at");
  }
  return n <= 0 ? std::vector<std::byte>() : read_whole(reader.number, static_cast<std::size_t>(n));
}

bool at_end(int descriptor) {
  pollfd asked{descriptor, POLLIN, 0};
  return ::poll(&asked, 1, 0) > 0 && (asked.revents & POLLHUP) != 0;
}

}  // namespace

std::vector<std::byte> peek_bytes(int descriptor, std::size_t most,
                                  const std::function<bool(std::span<const std::byte>)>& enough) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail("standard input is closed");
  if (S_ISREG(status.st_mode)) {
    std::vector<std::byte> bytes(most);
    const ssize_t n = ::pread(descriptor, bytes.data(), most, ::lseek(descriptor, 0, SEEK_CUR));
    bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return bytes;
  }
  if (!S_ISFIFO(status.st_mode) && !S_ISSOCK(status.st_mode))
    throw Error(
        ErrorCode::config, "stdin",
        "expected audio from a pipe or a file, found a terminal or device; pipe audio in, or give its format with "
        "the parameters encoding, rate and channels");
  for (;;) {
    const bool ended = at_end(descriptor);  // before looking, so that nothing can come between
    std::vector<std::byte> bytes;
    if (S_ISFIFO(status.st_mode)) {
      bytes = tee_pipe(descriptor, most);
    } else {
      bytes.resize(most);
      const ssize_t n = ::recv(descriptor, bytes.data(), most, MSG_PEEK | MSG_DONTWAIT);
      bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    }
    if (ended || bytes.size() >= most || enough(bytes)) return bytes;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

ReadStatus read_some(int descriptor, std::size_t most, int timeout_ms, std::vector<std::byte>& out) {
  pollfd asked{descriptor, POLLIN, 0};
  const int ready = ::poll(&asked, 1, timeout_ms);
  if (ready == 0 || (ready < 0 && errno == EINTR)) return ReadStatus::waiting;
  if (ready < 0) fail("waiting for input failed");
  const std::size_t before = out.size();
  out.resize(before + most);
  const ssize_t n = ::read(descriptor, out.data() + before, most);
  out.resize(before + (n > 0 ? static_cast<std::size_t>(n) : 0));
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return ReadStatus::waiting;
  if (n < 0) fail("reading failed");
  return n == 0 ? ReadStatus::end : ReadStatus::some;
}

}  // namespace morph::audio
