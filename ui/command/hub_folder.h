// The folder of a model that is fetched from a hub: it appears whole or not at all, remembers where it came from, and
// is never put in the place of what came from elsewhere. Two fetches of one model wait for each other.
#pragma once

#include <filesystem>
#include <string>

namespace morph::command {

/// Holds the model's lock. One at a time; not thread-safe.
class HubFolder {
 public:
  /// `source` such as "hf:org/name". Waits while another process fetches into this folder (`on_wait` is called once
  /// then). Throws Error{config} when the folder holds something that did not come from `source` (unless `replace`), is
  /// no folder, or cannot be written to.
  HubFolder(std::filesystem::path folder, std::string source, bool replace, void (*on_wait)(const std::string& folder));
  ~HubFolder();
  HubFolder(const HubFolder&) = delete;
  HubFolder& operator=(const HubFolder&) = delete;

  const std::filesystem::path& path() const { return folder_; }
  /// Where files are put until all are there. What an earlier attempt left is still in it.
  const std::filesystem::path& staging() const { return staging_; }
  /// The commit that the folder holds; empty when it holds none.
  const std::string& commit() const { return commit_; }
  /// A file of the model that is to stay as it is.
  bool holds(const std::string& file) const;

  /// Staging takes the folder's place, with what was in the folder and is not in staging. Throws Error{resource}.
  void install(const std::string& commit);
  /// Only the record is written anew: all files were there.
  void keep(const std::string& commit);

 private:
  void lock(void (*on_wait)(const std::string& folder));
  void read_record(bool replace);
  void carry_over() const;

  std::filesystem::path folder_, staging_, lock_file_;
  std::string source_, commit_;
  bool replaces_ = false;  ///< what is there goes
  int lock_ = -1;
};

}  // namespace morph::command
