// See byte_file.h.
#include "base/byte_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "morph/error.h"
#include "morph/output_file.h"

namespace morph {
namespace {

constexpr const char* kFolder = "/proc/self/fd/";

}  // namespace

ByteFile::ByteFile(std::span<const std::byte> bytes, const std::string& name)
    : descriptor_(memfd_create(name.substr(0, 200).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
  const auto fail = [&](int error) {
    if (descriptor_ >= 0) close(descriptor_);
    throw Error(
        ErrorCode::resource, name,
        std::to_string(bytes.size()) + " bytes cannot be kept as a file in memory (" + std::strerror(error) + ")");
  };
  if (descriptor_ < 0) fail(errno);
  if (const int error = write_all(descriptor_, bytes); error != 0) fail(error);
  fcntl(descriptor_, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
  path_ = kFolder + std::to_string(descriptor_);
}

ByteFile::~ByteFile() { close(descriptor_); }

bool is_byte_file(const std::string& path) { return path.starts_with(kFolder); }

}  // namespace morph
