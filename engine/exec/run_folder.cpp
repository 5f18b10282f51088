// RunFolder: see run_folder.h. The lock is flock(2) on the folder: it goes with the process, however that ends.
#include "exec/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "morph/checkpoint.h"
#include "morph/error.h"

namespace morph::exec {

RunFolder::RunFolder(const std::filesystem::path& checkpoint, bool fresh)
    : path_(parts_folder(checkpoint)), disposable_(fresh) {
  std::error_code failed;
  std::filesystem::create_directory(path_, failed);
  if (!failed) descriptor_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ < 0)
    throw Error(ErrorCode::config, path_.string(),
                "expected a folder for what the run has made so far; it cannot be made (" +
                    (failed ? failed.message() : std::string(std::strerror(errno))) + ")");
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    ::close(descriptor_);
    throw Error(ErrorCode::config, checkpoint.string(),
                error == EWOULDBLOCK ? std::string("another process works on this run; let it end first")
                                     : std::string("its folder cannot be locked (") + std::strerror(error) + ")");
  }
  if (!fresh) return;
  for (const auto& entry : std::filesystem::directory_iterator(path_, failed)) {
    std::error_code ignored;
    std::filesystem::remove_all(entry.path(), ignored);
  }
}

RunFolder::~RunFolder() {
  if (disposable_) remove();
  if (descriptor_ >= 0) ::close(descriptor_);
}

void RunFolder::remove() noexcept {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace morph::exec
