// See live_input.h. A pipe holds 64 KiB. A source with a clock has put no more into it than it has made since it began,
// which was about when this process did; a file is there at once, up to the pipe's size, or to its end.
#include "host/live_input.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>

namespace morph {
namespace {

constexpr double kSlackSeconds = 0.5;        // a recorder may have been started a little before
constexpr double kBytesPerSecond = 32000.0;  // 16 kHz in 16 bits, where nothing says otherwise

double now_s() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Seconds since this process began; field 22 of /proc/self/stat, in ticks since the machine did.
double age_s() {
  std::ifstream in("/proc/self/stat");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 2)));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  const double began = std::strtod(field.c_str(), nullptr) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return began > 0 ? now_s() - began : 0.0;
}

/// What the header of a WAV stream says a second takes; the first bytes are copied, not taken.
double bytes_per_second(bool is_pipe) {
  std::array<unsigned char, 44> head{};
  ssize_t n = 0;
  if (is_pipe) {
    std::array<int, 2> copy{};
    if (::pipe2(copy.data(), O_CLOEXEC) != 0) return kBytesPerSecond;
    if (::tee(STDIN_FILENO, copy[1], head.size(), SPLICE_F_NONBLOCK) > 0) n = ::read(copy[0], head.data(), head.size());
    ::close(copy[0]);
    ::close(copy[1]);
  } else {
    n = ::recv(STDIN_FILENO, head.data(), head.size(), MSG_PEEK | MSG_DONTWAIT);
  }
  if (n < 36 || std::memcmp(head.data(), "RIFF", 4) != 0 || std::memcmp(head.data() + 12, "fmt ", 4) != 0)
    return kBytesPerSecond;
  double rate = 0;
  for (int i = 3; i >= 0; --i) rate = rate * 256 + head[28u + static_cast<unsigned>(i)];
  return rate >= 1000 ? rate : kBytesPerSecond;
}

}  // namespace

bool stdin_is_live() {
  struct stat status {};
  if (::fstat(STDIN_FILENO, &status) != 0 || (!S_ISFIFO(status.st_mode) && !S_ISSOCK(status.st_mode))) return false;
  for (int look = 0; look < 20; ++look) {
    pollfd asked{STDIN_FILENO, POLLIN, 0};
    ::poll(&asked, 1, 0);
    if ((asked.revents & (POLLHUP | POLLERR)) != 0) return false;  // all of it is there
    int waiting = 0;
    if (::ioctl(STDIN_FILENO, FIONREAD, &waiting) != 0) return true;
    if (waiting / bytes_per_second(S_ISFIFO(status.st_mode)) > age_s() + kSlackSeconds) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace morph
