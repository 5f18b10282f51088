// See stage_cache.h.
#include "host/stage_cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/mixed_bits.h"

namespace morph {
namespace {

/// FNV-1a over text, then splitmix64 over each number.
class Hash {
 public:
  void add(std::string_view text) {
    for (const char c : text) value_ = (value_ ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    add(static_cast<std::uint64_t>(text.size()));
  }
  void add(std::uint64_t number) { value_ = mixed_bits(value_ + number + kMixedStep); }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

std::uint64_t file_fingerprint(const std::filesystem::path& file, const std::string& name) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return 0;
  Hash hash;
  hash.add(name);
  hash.add(static_cast<std::uint64_t>(status.st_dev));
  hash.add(static_cast<std::uint64_t>(status.st_ino));
  hash.add(static_cast<std::uint64_t>(status.st_size));
  hash.add(static_cast<std::uint64_t>(status.st_mtim.tv_sec));
  hash.add(static_cast<std::uint64_t>(status.st_mtim.tv_nsec));
  return hash.value();
}

}  // namespace

std::uint64_t files_fingerprint(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return file_fingerprint(path, "");
  std::uint64_t sum = 1;  // of hashes: the order in which a folder is listed means nothing
  for (std::filesystem::recursive_directory_iterator
           at(path, std::filesystem::directory_options::skip_permission_denied, error),
       end;
       !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (at->is_directory(ignored) && !at->is_symlink(ignored)) continue;  // of a link, what it points to counts
    sum += file_fingerprint(at->path(), at->path().lexically_relative(path).string());
  }
  return sum;
}

std::shared_ptr<const Stage> StageCache::find(const std::string& key, const FindModel& find) const {
  std::shared_ptr<const Stage> stage;
  std::vector<UsedModel> models;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end()) return nullptr;
    stage = found->second.stage.lock();
    models = found->second.models;
  }
  if (stage == nullptr) return nullptr;
  for (const UsedModel& model : models) {
    const std::filesystem::path path = find(model.name);
    if (path != model.path || files_fingerprint(path) != model.fingerprint) return nullptr;
  }
  return stage;
}

void StageCache::add(const std::string& key, const std::shared_ptr<const Stage>& stage, std::vector<UsedModel> models) {
  const std::lock_guard<std::mutex> lock(mutex_);
  entries_[key] = Entry{stage, std::move(models)};
}

std::shared_ptr<const Plan> StageCache::watch(const std::shared_ptr<StageCache>& self,
                                              std::shared_ptr<const Plan> plan) {
  if (plan == nullptr) return nullptr;
  const Plan* const address = plan.get();
  return {address, [weak = std::weak_ptr<StageCache>(self), plan = std::move(plan)](const Plan*) mutable {
            // Before the plan itself goes: another may then get its address.
            if (const std::shared_ptr<StageCache> cache = weak.lock()) cache->drop(plan.get());
            plan.reset();
          }};
}

std::optional<StagesInUse> StageCache::use(const Plan& plan) const {
  Loaded loaded;  // a copy: what it holds may end here, after the lock
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = loaded_.find(&plan);
    if (found == loaded_.end()) return std::nullopt;
    loaded = found->second;
  }
  std::shared_ptr<void> use = loaded.grant->use();
  if (use == nullptr) return std::nullopt;
  return StagesInUse{std::move(use), std::move(loaded.stages)};
}

std::uint64_t StageCache::next_ticket() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ++n_tickets_;
}

void StageCache::keep(const std::shared_ptr<const Plan>& plan, Stages stages, std::shared_ptr<Grant> grant,
                      std::uint64_t ticket) {
  Loaded loaded{plan, ticket, std::move(grant), std::move(stages)};
  const std::lock_guard<std::mutex> lock(mutex_);
  std::swap(loaded_[plan.get()], loaded);  // what was there, on its way out, is destroyed after the lock
}

void StageCache::give_up(const Plan* plan, std::uint64_t ticket) {
  Loaded dropped;  // destroyed after the lock is
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = loaded_.find(plan);
  if (found == loaded_.end() || found->second.ticket != ticket) return;
  std::swap(dropped, found->second);
  loaded_.erase(found);
}

void StageCache::prune() {
  std::vector<Loaded> dropped;  // destroyed after the lock is
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto at = loaded_.begin(); at != loaded_.end();) {
    if (at->second.plan.expired()) {
      dropped.push_back(std::move(at->second));
      at = loaded_.erase(at);
    } else {
      ++at;
    }
  }
  std::erase_if(entries_, [](const auto& entry) { return entry.second.stage.expired(); });
}

void StageCache::drop(const Plan* plan) {
  Loaded dropped;  // destroyed after the lock is
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = loaded_.find(plan);
  if (found == loaded_.end()) return;
  std::swap(dropped, found->second);
  loaded_.erase(found);
}

bool StageCache::changed(const UsedModel& model) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [seen, is_new] = seen_.try_emplace(model.path, model.fingerprint);
  return !is_new && std::exchange(seen->second, model.fingerprint) != model.fingerprint;
}

}  // namespace morph
