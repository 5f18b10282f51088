// The ledger: what this process holds and has promised, in the host's memory and in each device's. Loading, opening a
// run, growing and leasing ask it first; before it refuses it lets go of what is loaded and unused, the least recently
// used first.
//
// It adds up claims (graph/memory_claim.h) that were granted. A grant is planned until hold() says that its bytes are
// really there. The host's limit is what the machine says at that moment; a device's is what was free on it when
// nothing of ours was there, and from then on ours is subtracted by the books: a driver asked again would count ours
// twice. The machine is a parameter, so that tests need none.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graph/memory_claim.h"
#include "morph/device.h"
#include "morph/memory.h"

namespace morph {

/// The machine as the ledger sees it. Functions are called from any thread.
struct MachineView {
  std::uint64_t process = 0;                  ///< resident before anything was loaded
  std::function<std::uint64_t()> limit{};     ///< most that this process may hold on the host; 0 or absent: unknown
  std::function<std::uint64_t()> resident{};  ///< what it holds now; absent: what the books say
};

class Ledger;
struct LeaseSlot;

/// Claims that were granted; they end with it. Thread-safe.
class Grant : public std::enable_shared_from_this<Grant> {
 public:
  ~Grant();
  Grant(const Grant&) = delete;
  Grant& operator=(const Grant&) = delete;

  /// What was planned is in memory now.
  void hold();
  /// Keeps the grant, and what was granted from being given up, while the result lives; null: it is being given up
  /// already.
  std::shared_ptr<void> use();

 private:
  friend class Ledger;
  friend struct LeaseSlot;
  struct Entry;
  Grant(std::shared_ptr<Ledger> ledger, std::list<Entry>::iterator entry) : ledger_(std::move(ledger)), entry_(entry) {}
  std::shared_ptr<Ledger> ledger_;
  std::list<Entry>::iterator entry_;
};

struct MemoryRequest {
  std::string who;  ///< for errors and reports
  Claims claims;
  std::uint64_t budget = 0;  ///< most that the process may hold on the host while this is in use; 0: no such wish
  /// Makes what was granted go away: may be called, from any thread and without locks, while no use() is alive; after
  /// it the grant's holder asks anew. Absent: it is never given up.
  std::function<void()> give_up{};
  /// Part of something else: it is in use while somebody who is in use claims this key, and goes with who has it.
  std::string part_of{};
};

/// Thread-safe. Made by std::make_shared; grants keep it.
class Ledger : public std::enable_shared_from_this<Ledger> {
 public:
  explicit Ledger(MachineView machine);
  ~Ledger();

  /// Books the claims, all or none. Throws Error{resource}: what was needed where, who holds what, what would fit.
  std::shared_ptr<Grant> admit(MemoryRequest request);
  /// The same, and a use() of it from the start.
  std::shared_ptr<Grant> admit_in_use(MemoryRequest request, std::shared_ptr<void>& use);

  /// Where leased weights lie while they are there. They go with the slot's last owner.
  std::shared_ptr<LeaseSlot> lease_slot(const std::string& place, const std::string& key);
  /// The weights of a slot, loaded unless they are there. They stay while the result lives; afterwards they stay for as
  /// long as nobody needs the room. Throws like admit(), and what `load` throws.
  std::shared_ptr<const Model> lease(const std::shared_ptr<LeaseSlot>& slot, const std::string& who,
                                     const WeightLease& wanted);

  /// Devices as their drivers describe them; `free_bytes` of the result is what all of this process together may have.
  std::vector<DeviceInfo> see(std::vector<DeviceInfo> devices);

  /// Of what these claims are about, the bytes that are in the host's memory already.
  std::uint64_t held(const Claims& claims) const;
  /// Of what is booked on the host beside them: all of it, and what could be given up.
  std::pair<std::uint64_t, std::uint64_t> others(const Claims& claims) const;

  /// The books, largest first.
  MemoryReport report() const;

 private:
  friend class Grant;
  friend struct LeaseSlot;
  using Entry = Grant::Entry;
  struct Sums;

  struct Shortage;

  std::list<Entry>::iterator book(MemoryRequest request, bool in_use);
  /// Keys that somebody in use claims, among them what others are a part of.
  std::set<std::string> keys_in_use() const;
  bool stays(const Entry& entry, const std::set<std::string>& in_use) const;
  Sums sums(const MemoryRequest* request, bool with_idle) const;
  Shortage shortage(const MemoryRequest& request, bool with_idle) const;
  std::list<Entry>::iterator least_recent(const MemoryRequest& request, const std::string& place);
  [[noreturn]] void refuse(const MemoryRequest& request, const Shortage& shortage) const;
  std::shared_ptr<void> use(std::list<Entry>::iterator entry);  ///< null: it is being given up
  void close(std::list<Entry>::iterator entry);

  const MachineView machine_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;
  std::map<std::string, DeviceInfo> devices_;  ///< by id; free_bytes as it was with nothing of ours there
  std::uint64_t clock_ = 0;                    ///< of uses: the larger, the later
  std::map<std::pair<std::string, std::string>, std::weak_ptr<LeaseSlot>> leases_;  ///< by place and key
  std::condition_variable gone_;  ///< something that was being given up is
};

}  // namespace morph
