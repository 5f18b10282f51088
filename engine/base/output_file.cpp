// See morph/output_file.h. O_TMPFILE (open(2)) makes a file without a name; linkat gives it one, under a passing name
// first where the path is taken, since only rename replaces.
#include "morph/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <utility>

#include "morph/error.h"

namespace morph {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLinks = 40;  // as the kernel

/// Calls `make` with names beside `path` until one is not taken. False with errno; `name` is then empty.
template <class Make>
bool with_free_name(const fs::path& path, std::string& name, Make make) {
  std::random_device random;
  // Cut, so that a name of full length has one beside it.
  const std::string stem = path.filename().string().substr(0, NAME_MAX - 12);
  for (int attempt = 0; attempt < 100; ++attempt) {
    name = (path.parent_path() / fmt::format(".{}.{:08x}", stem, random())).string();
    if (make(name)) return true;
    if (errno != EEXIST) break;
  }
  const int error = errno;
  name.clear();
  errno = error;
  return false;
}

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

/// What a chain of links leads to, whether it is there or not.
fs::path behind_links(fs::path path) {
  std::error_code failed;
  for (int i = 0; i < kMaxLinks && fs::is_symlink(fs::symlink_status(path, failed)); ++i) {
    const fs::path target = fs::read_symlink(path, failed);
    if (failed) break;
    path = target.is_absolute() ? target : path.parent_path() / target;
  }
  return path;
}

/// A file without a name in the folder of `path`; -1 with errno.
int create_unnamed(const fs::path& path) {
  return ::open(folder_of(path).c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0666);
}

bool lacks_unnamed(int error) { return error == EOPNOTSUPP || error == EISDIR || error == EINVAL || error == ENOENT; }

}  // namespace

OutputFile::OutputFile(fs::path path) : path_(std::move(path)) {
  std::error_code failed;
  const fs::file_status status = fs::status(path_, failed);  // of what a link leads to
  if (fs::is_directory(status)) fail("expected a file's name", EISDIR);
  if (path_.filename().empty()) fail("expected a file's name", EISDIR);
  if (path_.filename().native().size() > NAME_MAX) fail("expected a shorter name", ENAMETOOLONG);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    direct_ = true;
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (descriptor_ < 0) fail("cannot be opened", errno);
    return;
  }
  path_ = behind_links(path_);
  descriptor_ = create_unnamed(path_);
  int error = errno;
  if (descriptor_ < 0 && lacks_unnamed(error) && fs::is_directory(folder_of(path_), failed)) {
    // Nobody else sees an unnamed file; this one keeps to itself what will replace a private one.
    const mode_t mode = fs::exists(status) ? 0600 : 0666;
    with_free_name(path_, temporary_, [&](const std::string& name) {
      descriptor_ = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
      return descriptor_ >= 0;
    });
    error = errno;
  }
  if (descriptor_ < 0) fail("expected a folder that can be written to", error);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
  if (const int error = write_all(descriptor_, bytes); error != 0) fail("writing failed", error);
}

std::int64_t OutputFile::seek(std::int64_t offset, int whence) { return ::lseek(descriptor_, offset, whence); }

void OutputFile::take_rights_of_old() const {
  struct stat old {};
  if (::stat(path_.c_str(), &old) != 0 || !S_ISREG(old.st_mode)) return;
  struct stat own {};
  const bool same_owner = ::fstat(descriptor_, &own) == 0 && own.st_uid == old.st_uid && own.st_gid == old.st_gid;
  const bool owned = same_owner || ::fchown(descriptor_, old.st_uid, old.st_gid) == 0;
  // Where it cannot belong to the old one's owner and group, set-id bits and the group's rights stay behind.
  if (::fchmod(descriptor_, old.st_mode & (owned ? 07777 : 0707)) != 0) fail("its rights cannot be kept", errno);
}

void OutputFile::name_it() {
  if (temporary_.empty()) {
    const std::string self = fmt::format("/proc/self/fd/{}", descriptor_);
    const auto link_to = [&](const std::string& name) {
      return ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
    };
    if (link_to(path_.string())) return;
    if (errno != EEXIST || !with_free_name(path_, temporary_, link_to))
      fail("the finished file cannot get a name", errno);
  }
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("the finished file cannot take its name", errno);
  temporary_.clear();
}

void OutputFile::finish() {
  if (!direct_) {
    take_rights_of_old();
    if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) fail("writing failed", errno);
    name_it();
  }
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("writing failed", errno);
  if (direct_) return;
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;  // may be written to, but not read
  ::fsync(folder);
  ::close(folder);
}

void OutputFile::fail(const std::string& message, int error_number) const {
  const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG || error_number == EIO;
  throw Error(full ? ErrorCode::resource : ErrorCode::config, path_.string(),
              fmt::format("{} ({})", message, std::strerror(error_number)));
}

void check_output_path(const fs::path& path) {
  std::error_code failed;
  const fs::file_status status = fs::status(path, failed);
  if (fs::exists(status) && !fs::is_directory(status) && !fs::is_regular_file(status)) {
    // Opening a pipe would wait for its reader, and closing it would end the stream.
    if (::access(path.c_str(), W_OK) == 0) return;
    throw Error(ErrorCode::config, path.string(), fmt::format("cannot be written to ({})", std::strerror(errno)));
  }
  const OutputFile never_named(path);
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
