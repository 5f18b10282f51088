// See stage_memory.h.
#include "host/stage_memory.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <utility>

#include "graph/memory_plan.h"

namespace morph {
namespace {

class BookedMemory final : public StageMemory {
 public:
  BookedMemory(std::shared_ptr<Ledger> ledger, std::string place, std::string who, const std::string& stage_key)
      : ledger_(std::move(ledger)),
        place_(std::move(place)),
        who_(std::move(who)),
        stage_(stage_claim_key(stage_key)),
        pool_key_(pool_claim_key(stage_key)) {}

  std::shared_ptr<void> take(std::uint64_t bytes, std::string_view what) override {
    return held(fmt::format("{}, {}", who_, what), {place_, MemoryKind::session, "", bytes, false});
  }

  void keep_pool(std::uint64_t bytes) override {
    std::shared_ptr<void> kept = held(who_, {place_, MemoryKind::session, pool_key_, bytes, false});
    const std::lock_guard<std::mutex> lock(mutex_);
    pool_.swap(kept);  // the older goes after the newer came: a pool is as large as the largest claim to it
  }

  std::shared_ptr<const Model> lease(const WeightLease& wanted) override {
    std::shared_ptr<LeaseSlot> slot;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      std::shared_ptr<LeaseSlot>& known = slots_[wanted.key];
      if (!known) known = ledger_->lease_slot(place_, wanted.key);
      slot = known;
    }
    return ledger_->lease(slot, who_, wanted);
  }

 private:
  std::shared_ptr<void> held(std::string who, Claim claim) {
    MemoryRequest request;
    request.who = std::move(who);
    request.claims = {std::move(claim)};
    request.part_of = stage_;
    const std::shared_ptr<Grant> grant = ledger_->admit(std::move(request));
    grant->hold();
    return grant;
  }

  const std::shared_ptr<Ledger> ledger_;
  const std::string place_, who_, stage_, pool_key_;
  std::mutex mutex_;
  std::shared_ptr<void> pool_;
  std::map<std::string, std::shared_ptr<LeaseSlot>> slots_;
};

}  // namespace

std::shared_ptr<StageMemory> make_stage_memory(std::shared_ptr<Ledger> ledger, std::string place, std::string who,
                                               const std::string& stage_key) {
  return std::make_shared<BookedMemory>(std::move(ledger), std::move(place), std::move(who), stage_key);
}

}  // namespace morph
