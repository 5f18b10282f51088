// See hub_folder.h. Staging lies beside the folder, hidden, so that taking its place is one rename (renameat2 exchanges
// two folders at once; where the file system cannot, the old one is moved aside first).
#include "hub_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "morph/error.h"
#include "morph/hub.h"
#include "morph/json_limits.h"
#include "morph/message.h"
#include "morph/model.h"
#include "morph/output_file.h"
#include "morph/regular_file.h"

namespace morph::command {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void cannot(const fs::path& path, const std::error_code& failed) {
  throw Error(failed == std::errc::no_space_on_device ? ErrorCode::resource : ErrorCode::config, path.string(),
              "expected a folder that can be written to, found: " + failed.message());
}

/// The record of a folder; an empty object when there is none that can be understood.
nlohmann::json read_hub_record(const fs::path& folder) {
  std::error_code failed;
  if (!fs::is_regular_file(folder / kHubRecord, failed)) return nlohmann::json::object();
  const std::string text = read_regular_file(folder / kHubRecord, 1 << 16, ErrorCode::config);
  if (!json_excess(text, JsonLimits{1 << 16, 4, 100}).empty()) return nlohmann::json::object();
  nlohmann::json record = nlohmann::json::parse(text, nullptr, false);
  return record.is_object() ? record : nlohmann::json::object();
}

std::string text_in(const nlohmann::json& record, const char* key) {
  return record.contains(key) && record[key].is_string() ? record[key].get<std::string>() : std::string();
}

void write_hub_record(const fs::path& folder, const std::string& source, const std::string& commit) {
  const std::string text = nlohmann::json{{"source", source}, {"commit", commit}}.dump(1) + "\n";
  OutputFile out(folder / kHubRecord);
  out.write(std::as_bytes(std::span(text)));
  out.finish();
}

/// Puts `from` in the place of the folder `to`, which ends up as `from` or not at all.
bool exchange(const fs::path& from, const fs::path& to) {
  return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0;
}

}  // namespace

HubFolder::HubFolder(fs::path folder, std::string source, bool replace, void (*on_wait)(const std::string&))
    : source_(std::move(source)) {
  std::error_code failed;
  folder_ = fs::weakly_canonical(fs::absolute(folder), failed);
  if (failed) cannot(folder, failed);
  if (!folder_.has_filename()) folder_ = folder_.parent_path();
  const std::string hidden = "." + folder_.filename().string() + ".pull";
  staging_ = folder_.parent_path() / hidden;
  lock_file_ = cache_folder() / "locks" / fmt::format("pull-{:016x}", std::hash<std::string>()(folder_.string()));
  for (const fs::path& parent : {folder_.parent_path(), lock_file_.parent_path()})
    if (fs::create_directories(parent, failed); failed) cannot(parent, failed);
  lock(on_wait);
  try {
    read_record(replace);
    fs::create_directories(staging_, failed);
    if (failed) cannot(staging_, failed);
  } catch (...) {  // the destructor does not run
    ::close(lock_);
    throw;
  }
}

HubFolder::~HubFolder() {
  std::error_code ignored;
  fs::remove(staging_, ignored);  // when it is empty
  ::close(lock_);                 // the lock's file stays: another process may wait on it
}

void HubFolder::lock(void (*on_wait)(const std::string&)) {
  lock_ = ::open(lock_file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (lock_ < 0) cannot(lock_file_, std::error_code(errno, std::generic_category()));
  if (::flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  if (on_wait != nullptr) on_wait(folder_.string());
  while (::flock(lock_, LOCK_EX) != 0 && errno == EINTR) {
  }
}

void HubFolder::read_record(bool replace) {
  std::error_code failed;
  if (!fs::exists(folder_, failed)) return;
  if (!fs::is_directory(folder_, failed))
    throw Error(ErrorCode::config, folder_.string(), "expected a folder, found a file of this name");
  if (fs::is_empty(folder_, failed)) return;
  const nlohmann::json record = read_hub_record(folder_);
  const std::string source = text_in(record, "source");
  if (source == source_) {
    commit_ = text_in(record, "commit");
  } else if (replace) {
    replaces_ = true;
  } else {
    throw Error(ErrorCode::config, folder_.string(),
                fmt::format("holds another model ({}); give this one a folder of its own with --to, or put it in the "
                            "other's place with --force",
                            source.empty() ? "not fetched from a hub by this program" : "of " + shown_text(source)));
  }
}

bool HubFolder::holds(const std::string& file) const {
  std::error_code failed;
  return !replaces_ && fs::exists(folder_ / file, failed);
}

void HubFolder::carry_over() const {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder_)) {
    const fs::path target = staging_ / entry.path().lexically_relative(folder_);
    std::error_code failed;
    if (entry.is_directory(failed) && !entry.is_symlink(failed)) {
      fs::create_directories(target);
    } else if (!fs::exists(fs::symlink_status(target, failed))) {
      fs::create_directories(target.parent_path());
      if (entry.is_symlink(failed))
        fs::copy_symlink(entry.path(), target);
      else if (fs::create_hard_link(entry.path(), target, failed); failed)
        fs::copy_file(entry.path(), target);
    }
  }
}

void HubFolder::keep(const std::string& commit) {
  if (commit != commit_) write_hub_record(folder_, source_, commit);
}

void HubFolder::install(const std::string& commit) {
  try {
    if (!replaces_ && fs::exists(folder_)) carry_over();
    std::error_code failed;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(staging_))  // of attempts that ended early
      if (entry.path().extension() == ".part") fs::remove(entry.path(), failed);
    write_hub_record(staging_, source_, commit);
    if (!fs::exists(folder_)) {
      fs::rename(staging_, folder_);
    } else if (!exchange(staging_, folder_)) {
      const fs::path aside = staging_.string() + ".old";
      fs::remove_all(aside);
      fs::rename(folder_, aside);
      fs::rename(staging_, folder_);
      fs::remove_all(aside, failed);
    }
    fs::remove_all(staging_, failed);  // the old one, or nothing
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorCode::resource, folder_.string(),
                "the fetched model cannot take its place: " + error.code().message() + "; it is kept in " +
                    staging_.string() + " for another try");
  }
}

}  // namespace morph::command
