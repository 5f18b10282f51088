// See morph/output_file.h.
#include "morph/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <utility>

#include "morph/error.h"

namespace morph {

namespace {

/// A new file beside `path`, with the rights that the process' mask leaves of 0666 (mkostemp would give 0600, and the
/// mask cannot be read without setting it for all threads). Returns -1 with errno; `name` is then empty.
int create_beside(const std::filesystem::path& path, std::string& name) {
  std::random_device random;
  for (int attempt = 0; attempt < 100; ++attempt) {
    name = fmt::format("{}.{:06x}", path.string(), random() & 0xFFFFFFu);
    const int descriptor = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) return descriptor;
    if (errno != EEXIST) break;
  }
  const int error = errno;
  name.clear();
  errno = error;
  return -1;
}

}  // namespace

OutputFile::OutputFile(std::filesystem::path path) : path_(std::move(path)) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::file_status status = fs::status(path_, ignored);  // of what a link leads to
  if (fs::is_directory(status)) fail("expected a file's name", EISDIR);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail("cannot be opened", errno);
    return;
  }
  if (fs::is_symlink(fs::symlink_status(path_, ignored)))
    if (fs::path target = fs::weakly_canonical(path_, ignored); !target.empty()) path_ = std::move(target);
  descriptor_ = create_beside(path_, temporary_);
  if (descriptor_ < 0) fail("expected a folder that can be written to", errno);
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
  if (temporary_.empty()) return;
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

}  // namespace morph
