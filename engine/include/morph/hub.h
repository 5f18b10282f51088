// Fetching published checkpoints from a hub-shaped server (the Hugging Face hub's two calls: the listing of a model's
// files with sizes and hashes, and the files themselves), with resume and integrity checks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace morph {

struct HubFile {
  std::string path;  ///< relative, checked to stay inside the folder
  std::uint64_t bytes = 0;
  std::string sha256;         ///< for large files; empty otherwise
  std::string git_blob_sha1;  ///< for small files: sha1 of "blob <size>\0" + content; may be empty
};

struct HubModel {
  std::string name;      ///< "org/name"
  std::string revision;  ///< branch, tag or commit asked for
  std::string commit;    ///< what it resolved to
  std::vector<HubFile> files;
};

using HubProgress = std::function<void(double fraction, const std::string& what)>;

/// A client of one server. Not thread-safe. Follows redirects, but never from https to http.
class HubClient {
 public:
  /// `base` such as "https://host" (no trailing slash). `token` may be empty. Throws Error{config} for another kind of
  /// address, and for a token that would go over plain http to another machine.
  HubClient(std::string base, std::string token);

  /// Throws Error{resource} for network failures (after retries), Error{config} when there is no such model or access,
  /// Error{format} when the listing is not understood or names a path outside the folder.
  HubModel list(const std::string& name, const std::string& revision);

  /// Downloads into `folder`/<path>. Partial data is kept as <path>.part and resumed; the file appears under its name
  /// only when size and hash are right. Retries what the network breaks up to five times with growing pauses; a wrong
  /// hash is retried once from zero, then Error{weights}. Disk full is Error{resource}.
  void download(const HubModel& model, const HubFile& file, const std::filesystem::path& folder,
                const HubProgress& progress);

 private:
  std::string base_;
  std::string token_;
};

/// What the hub says of a model, from the listing's bytes (name and revision stay empty). Throws Error{format} at
/// `where` for what is too large, of a wrong type, listed twice, or leads out of the folder.
HubModel parse_hub_listing(std::string_view body, const std::string& where);

/// Whether the listing has a hash of it.
bool is_checked(const HubFile& file);

/// In the folder of a fetched model: where it came from. Never taken from a hub.
constexpr const char* kHubRecord = ".hub.json";

/// Files worth fetching: configuration, tokenizers and safetensors / GGUF weights; other weight formats (pickles,
/// TensorFlow, Flax) are left out where safetensors or GGUF exist, and pickles always.
std::vector<HubFile> select_files(const HubModel& model, const std::vector<std::string>& include);

/// Whether `file` is what the listing says: its size, and its hash (sha256 of large files as remembered in
/// hashes.json, computed when they changed since). Throws Error{resource} when it cannot be read.
bool is_downloaded(const std::filesystem::path& file, const HubFile& expected);

/// "ORG/NAME" or "ORG/NAME@REVISION" in its parts (the revision is "main" when there is none). Throws Error{config} for
/// anything that could lead out of the models folder or of the hub's address.
struct HubName {
  std::string organisation, name, revision;
  std::string model() const { return organisation + "/" + name; }
};
HubName parse_hub_name(const std::string& text);

/// Throws Error{format} unless `path` is relative, has no "..", no empty or hidden-device parts and no control bytes.
void check_relative_path(const std::string& path);

}  // namespace morph
