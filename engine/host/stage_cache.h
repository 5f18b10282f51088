// StageCache: the stages that are loaded, shared by all runs that ask for the same and gone with the last plan that
// they were loaded for; and whether the model files they came from are still the same.
//
// A stage's key says what was asked for; what it found is a list of (model name, state of its files) noted while it was
// made. A stage whose models have changed since is not given out any more: whoever holds it keeps the old weights, the
// next one loads the new ones.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "host/ledger.h"
#include "morph/pipeline.h"
#include "morph/stage.h"

namespace morph {

using Stages = std::vector<std::shared_ptr<const Stage>>;

/// What a model's file, or every file in its folder, looks like from outside: names, sizes, times, inodes. Equal
/// numbers mean that nothing was replaced. Reads no file; what cannot be looked at counts as absent.
std::uint64_t files_fingerprint(const std::filesystem::path& path);

/// A model that a stage asked for.
struct UsedModel {
  std::string name;  ///< as the stage called it
  std::filesystem::path path;
  std::uint64_t fingerprint = 0;
};

/// A plan's stages, kept from being given up while this lives.
struct StagesInUse {
  std::shared_ptr<void> use;  // goes after the stages
  Stages stages;
};

/// Thread-safe. Stages are destroyed by whoever lets the last plan go, or asks the ledger for the room of an idle one;
/// never under the lock.
class StageCache {
 public:
  using FindModel = std::function<std::filesystem::path(const std::string&)>;

  /// The living stage of that key whose models are where `find` finds them, and unchanged; null: make one.
  std::shared_ptr<const Stage> find(const std::string& key, const FindModel& find) const;
  void add(const std::string& key, const std::shared_ptr<const Stage>& stage, std::vector<UsedModel> models);

  /// `plan`, which lets go of its stages here when its last owner does.
  static std::shared_ptr<const Plan> watch(const std::shared_ptr<StageCache>& self, std::shared_ptr<const Plan> plan);
  /// The stages of a plan that is loaded and not on its way out.
  std::optional<StagesInUse> use(const Plan& plan) const;
  /// A number for give_up().
  std::uint64_t next_ticket();
  void keep(const std::shared_ptr<const Plan>& plan, Stages stages, std::shared_ptr<Grant> grant, std::uint64_t ticket);
  /// Lets go of the stages that were kept for this plan with this ticket, if they are still here.
  void give_up(const Plan* plan, std::uint64_t ticket);
  /// Forgets the stages of plans that are gone, for plans that nobody watches.
  void prune();

  /// Whether the model was loaded before from other files than lie there now; notes those.
  bool changed(const UsedModel& model);

 private:
  struct Entry {
    std::weak_ptr<const Stage> stage;
    std::vector<UsedModel> models;
  };
  struct Loaded {
    std::weak_ptr<const Plan> plan;
    std::uint64_t ticket = 0;
    std::shared_ptr<Grant> grant;  ///< for what the stages hold; goes after them
    Stages stages;
  };
  void drop(const Plan* plan);

  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  std::map<const Plan*, Loaded> loaded_;
  std::map<std::filesystem::path, std::uint64_t> seen_;
  std::uint64_t n_tickets_ = 0;
};

}  // namespace morph
