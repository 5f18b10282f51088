// POSIX side of MappedFile.
#include "tensor/weights/mapped_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "morph/error.h"
#include "morph/regular_file.h"

namespace morph::tensor {
namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& expected) {
  const bool memory = errno == ENOMEM || errno == EAGAIN || errno == EMFILE || errno == ENFILE;
  throw Error(memory ? ErrorCode::resource : ErrorCode::weights, file.string(), expected + ": " + std::strerror(errno));
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& file) {
  const int descriptor = open_regular_file(file, ErrorCode::weights);
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || status.st_size <= 0) {
    ::close(descriptor);
    throw Error(ErrorCode::weights, file.string(),
                "expected a file with content, found an empty one; fetch the model again");
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const int saved = errno;
  ::close(descriptor);
  if (address == MAP_FAILED) {
    errno = saved;
    fail(file, "expected to map the file into memory");
  }
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

void release_pages(std::span<const std::byte> bytes) {
#ifdef MADV_PAGEOUT  // unlike MADV_DONTNEED it loses nothing, whatever memory this is
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(bytes.data() + bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_PAGEOUT);
#else
  static_cast<void>(bytes);
#endif
}

}  // namespace morph::tensor
