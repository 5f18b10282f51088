// A file that appears when it is whole: it has no name until finish() gives it one, so that whatever ends the process
// leaves nothing behind. A link's target is replaced, not the link; what is no file (a pipe, /dev/stdout) cannot appear
// and is written straight into.
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
  /// Writes everything to the disk and takes the name, with the rights of the file that had it before. Nothing can be
  /// written afterwards.
  void finish();
  [[noreturn]] void fail(const std::string& message, int error_number) const;

 private:
  void take_rights_of_old() const;
  void name_it();

  std::filesystem::path path_;
  std::string temporary_;  ///< where the file system has no unnamed files: its name until it is whole
  bool direct_ = false;    ///< written straight into
  int descriptor_ = -1;
};

/// Throws what making an OutputFile of this path would (no such folder, no right to write, a folder of this name, a
/// name that is too long), and leaves no trace: for the time before the work.
void check_output_path(const std::filesystem::path& path);

/// Writes everything to a descriptor. Returns 0 or the error number.
int write_all(int descriptor, std::span<const std::byte> bytes);

}  // namespace morph
