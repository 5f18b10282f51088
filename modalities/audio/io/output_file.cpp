// See output_file.h.
#include "io/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "morph/error.h"

namespace morph::audio {

OutputFile::OutputFile(std::filesystem::path path) : path_(std::move(path)), temporary_(path_.string() + ".XXXXXX") {
  descriptor_ = ::mkostemp(temporary_.data(), O_CLOEXEC);
  if (descriptor_ < 0) {
    const int error = errno;
    temporary_.clear();
    fail("expected a folder that can be written to", error);
  }
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(descriptor_, 0666 & ~mask);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
  if (const int error = write_all(descriptor_, bytes); error != 0) fail("writing failed", error);
}

std::int64_t OutputFile::seek(std::int64_t offset, int whence) { return ::lseek(descriptor_, offset, whence); }

void OutputFile::finish() {
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("writing failed", errno);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("the finished file cannot take its name", errno);
  temporary_.clear();
}

void OutputFile::fail(const std::string& message, int error_number) const {
  const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
  throw Error(full ? ErrorCode::resource : ErrorCode::config, path_.string(),
              fmt::format("{} ({})", message, std::strerror(error_number)));
}

int write_all(int descriptor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return 0;
}

}  // namespace morph::audio
