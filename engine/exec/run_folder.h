// RunFolder: the folder of segments beside the checkpoint of a run, held by one process at a time.
#pragma once

#include <filesystem>
#include <string>

namespace morph::exec {

/// Not thread-safe. Leaves the folder behind when it goes, for a run that goes on later, unless it is fresh and keep()
/// was never called: then there is nothing to go on with.
class RunFolder {
 public:
  /// Makes and locks the folder of `checkpoint`; `fresh`: what an earlier run left in it goes. Throws Error{config}
  /// when it cannot be made or another process has it.
  RunFolder(const std::filesystem::path& checkpoint, bool fresh);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  /// Where the stage keeps its segments.
  std::filesystem::path of_stage(const std::string& node) const { return path_ / node; }
  /// A place on the checkpoint's file system for what is not whole yet.
  std::filesystem::path temporary() const { return path_ / "checkpoint.new"; }
  void keep() { disposable_ = false; }
  /// Removes the folder with all that is in it.
  void remove() noexcept;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  bool disposable_;
};

}  // namespace morph::exec
