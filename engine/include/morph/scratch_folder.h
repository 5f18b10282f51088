// A passing folder for files that go from one program to another, or are looked at and dropped.
#pragma once

#include <filesystem>

namespace morph {

/// A new folder of a name that nobody could have prepared, for this user alone; gone with all that is in it when this
/// object is.
class ScratchFolder {
 public:
  /// Below the system's folder for passing files ($TMPDIR). Throws Error{resource} when it cannot be made.
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace morph
