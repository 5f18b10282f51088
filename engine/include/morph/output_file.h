// A file that appears when it is whole: written beside its place and renamed by finish(); removed otherwise. A link's
// target is replaced, not the link; what is no file (a pipe, /dev/stdout) cannot appear and is written straight into.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace morph {

class OutputFile {
 public:
  /// Throws Error{config} when the folder cannot be written to or `path` is one, Error{resource} when the disk is full.
  explicit OutputFile(std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  int descriptor() const { return descriptor_; }
  /// Throws Error{resource} for a full disk.
  void write(std::span<const std::byte> bytes);
  std::int64_t seek(std::int64_t offset, int whence);
  /// Flushes to the disk's queue and takes the name. Nothing can be written afterwards.
  void finish();
  [[noreturn]] void fail(const std::string& message, int error_number) const;

 private:
  std::filesystem::path path_;
  std::string temporary_;  ///< empty when written straight into, and when renamed
  int descriptor_ = -1;
};

/// Writes everything to a descriptor. Returns 0 or the error number.
int write_all(int descriptor, std::span<const std::byte> bytes);

}  // namespace morph
