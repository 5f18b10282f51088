// See regular_file.h. What was opened is looked at, not the name: it may change in between.
#include "morph/regular_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace morph {
namespace {

std::string kind_of(const struct stat& status) {
  if (S_ISREG(status.st_mode)) return {};
  if (S_ISDIR(status.st_mode)) return "a folder";
  if (S_ISFIFO(status.st_mode)) return "a named pipe";
  if (S_ISSOCK(status.st_mode)) return "a socket";
  return "a device";
}

struct Descriptor {
  int number;
  ~Descriptor() { ::close(number); }
};

}  // namespace

std::string other_than_file(const std::filesystem::path& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 ? kind_of(status) : "nothing";
}

int open_regular_file(const std::filesystem::path& file, ErrorCode code) {
  // Not every device may be opened without effect, so the name is looked at first.
  if (const std::string kind = other_than_file(file); !kind.empty() && kind != "nothing")
    throw Error(code, file.string(), fmt::format("expected a file, found {}", kind));
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0)
    throw Error(code, file.string(),
                errno == ENOENT ? "expected a file, found nothing of this name"
                                : fmt::format("the file cannot be opened ({})", std::strerror(errno)));
  struct stat status {};
  const std::string kind = ::fstat(descriptor, &status) == 0 ? kind_of(status) : "nothing";
  if (kind.empty()) return descriptor;
  ::close(descriptor);
  throw Error(code, file.string(), fmt::format("expected a file, found {}", kind));
}

std::string read_regular_file(const std::filesystem::path& file, std::uint64_t most, ErrorCode code) {
  const Descriptor descriptor{open_regular_file(file, code)};
  struct stat status {};
  if (::fstat(descriptor.number, &status) != 0) status.st_size = 0;
  std::string bytes;
  for (;;) {
    if (static_cast<std::uint64_t>(status.st_size) > most || bytes.size() > most)
      throw Error(code, file.string(), fmt::format("expected at most {} bytes, found more", most));
    const std::size_t before = bytes.size();
    // The end is where nothing more comes, not where the size says.
    bytes.resize(std::max(static_cast<std::size_t>(status.st_size), before) + 4096);
    const ssize_t n = ::read(descriptor.number, bytes.data() + before, bytes.size() - before);
    bytes.resize(before + (n > 0 ? static_cast<std::size_t>(n) : 0));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(code, file.string(), fmt::format("reading failed ({})", std::strerror(errno)));
    if (n == 0) return bytes;
  }
}

}  // namespace morph
