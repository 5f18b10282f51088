// A read-only memory map of a file: how weights are read without copying them first. POSIX mmap; the kernel pages in
// what is touched and may drop it again.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace morph::tensor {

/// Owns the map. Movable, immutable, thread-safe.
class MappedFile {
 public:
  /// Throws Error{weights} when the file is absent, not a regular file, empty or cannot be mapped.
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

/// Lets the kernel take back the resident pages that lie wholly inside `bytes`; their content stays readable. While
/// weights are converted one by one this keeps the file from being counted beside them. A hint: never fails.
void release_pages(std::span<const std::byte> bytes);

}  // namespace morph::tensor
