// Bytes in memory that every library can open like a file. Sources know paths; a program that has an upload or a
// notebook's cell has bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace morph {

/// A copy of the bytes without a name in any folder (memfd_create), gone with this object. Read-only for readers.
class ByteFile {
 public:
  /// `name` is for messages of the system. Throws Error{resource} when there is no memory for it.
  ByteFile(std::span<const std::byte> bytes, const std::string& name);
  ~ByteFile();
  ByteFile(const ByteFile&) = delete;
  ByteFile& operator=(const ByteFile&) = delete;

  /// To be opened as often as is wanted, by this process alone, while this object lives.
  const std::string& path() const { return path_; }

 private:
  int descriptor_ = -1;
  std::string path_;
};

/// True for a path() of some ByteFile: it says nothing about where bytes came from.
bool is_byte_file(const std::string& path);

}  // namespace morph
