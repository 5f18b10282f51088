// See ledger.h.
#include "host/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "graph/memory_claim.h"
#include "graph/memory_plan.h"
#include "morph/error.h"

namespace morph {
namespace {

std::string name_of(const std::string& place) { return place == kHostMemory ? "memory" : "memory of " + place; }

}  // namespace

struct Grant::Entry {
  MemoryRequest request;
  bool held = false;
  bool leaving = false;  ///< its give_up is being called
  int n_uses = 0;
  std::uint64_t last_use = 0;

  bool idle() const { return request.give_up && n_uses == 0; }
};

/// What the claims come to.
struct Ledger::Sums {
  using Key = std::pair<std::string, std::string>;  ///< place and key
  std::map<Key, ClaimedThing> all, held;
  std::map<std::string, std::uint64_t> own, own_held;  ///< by place, of claims without a key

  void add(const Claim& claim, bool is_held) {
    if (claim.key.empty()) {
      own[claim.place] = plus(own[claim.place], claim.bytes);
      if (is_held) own_held[claim.place] = plus(own_held[claim.place], claim.bytes);
      return;
    }
    all[{claim.place, claim.key}].add(claim);
    if (is_held) held[{claim.place, claim.key}].add(claim);
  }
  static std::uint64_t total(const std::map<Key, ClaimedThing>& things,
                             const std::map<std::string, std::uint64_t>& single, const std::string& place) {
    const auto found = single.find(place);
    std::uint64_t sum = found == single.end() ? 0 : found->second;
    for (const auto& [key, thing] : things)
      if (key.first == place) sum = plus(sum, thing.bytes());
    return sum;
  }
  std::uint64_t total(const std::string& place) const { return total(all, own, place); }
  std::uint64_t total_held(const std::string& place) const { return total(held, own_held, place); }
};

struct Ledger::Shortage {
  std::string place;  ///< empty: there is room
  std::uint64_t needed = 0, limit = 0;
  bool by_budget = false;
};

struct LeaseSlot {
  std::shared_ptr<Ledger> ledger;
  std::string place;
  std::mutex mutex;  ///< one loads, the others wait
  std::list<Grant::Entry>::iterator entry;
  std::shared_ptr<const Model> model;  ///< null: not there, and `entry` is none
  std::uint64_t n_loads = 0;

  ~LeaseSlot() { drop(); }
  void drop() {
    if (!model) return;
    model.reset();
    ledger->close(entry);
  }
};

Grant::~Grant() { ledger_->close(entry_); }

void Grant::hold() {
  const std::lock_guard<std::mutex> lock(ledger_->mutex_);
  entry_->held = true;
}

std::shared_ptr<void> Grant::use() {
  struct Parts {
    std::shared_ptr<Grant> grant;
    std::shared_ptr<void> use;  // goes first
  };
  std::shared_ptr<void> in_use = ledger_->use(entry_);
  if (!in_use) return nullptr;
  return std::make_shared<Parts>(Parts{shared_from_this(), std::move(in_use)});
}

Ledger::Ledger(MachineView machine) : machine_(std::move(machine)) {}
Ledger::~Ledger() = default;

std::set<std::string> Ledger::keys_in_use() const {
  std::set<std::string> keys;
  for (const Entry& entry : entries_)
    if (entry.request.part_of.empty() && !entry.idle() && !entry.leaving)
      for (const Claim& claim : entry.request.claims) keys.insert(claim.key);
  return keys;
}

/// When everything idle were given up.
bool Ledger::stays(const Entry& entry, const std::set<std::string>& in_use) const {
  if (!entry.request.part_of.empty()) return in_use.count(entry.request.part_of) > 0;
  return !entry.idle() && !entry.leaving;
}

Ledger::Sums Ledger::sums(const MemoryRequest* request, bool with_idle) const {
  Sums sums;
  const std::set<std::string> in_use = with_idle ? std::set<std::string>() : keys_in_use();
  for (const Entry& entry : entries_) {
    if (!with_idle && !stays(entry, in_use)) continue;
    for (const Claim& claim : entry.request.claims) sums.add(claim, entry.held);
  }
  if (request != nullptr)
    for (const Claim& claim : request->claims) sums.add(claim, false);
  return sums;
}

Ledger::Shortage Ledger::shortage(const MemoryRequest& request, bool with_idle) const {
  const Sums wanted = sums(&request, with_idle), before = sums(nullptr, with_idle);
  const auto grows = [&](const std::string& place) { return wanted.total(place) > before.total(place); };
  std::uint64_t budget = 0;
  const auto narrow = [&](std::uint64_t wish) {
    if (wish > 0) budget = budget == 0 ? wish : std::min(budget, wish);
  };
  narrow(request.budget);
  for (const Entry& entry : entries_)
    if (!entry.idle() && !entry.leaving) narrow(entry.request.budget);
  const std::uint64_t booked = plus(machine_.process, wanted.total(kHostMemory));
  // What adds nothing is always granted, also where limits have fallen below what is there.
  if (grows(kHostMemory) && budget > 0 && booked > budget) return {kHostMemory, booked, budget, true};
  const std::uint64_t limit = machine_.limit ? machine_.limit() : 0;
  if (limit > 0 && grows(kHostMemory)) {
    // What is in memory without being in the books: the program's own growth, and estimates that were too small.
    const std::uint64_t known = plus(machine_.process, sums(nullptr, true).total_held(kHostMemory));
    const std::uint64_t needed = plus(booked, machine_.resident ? minus(machine_.resident(), known) : 0);
    if (needed > limit) return {kHostMemory, needed, limit, false};
  }
  for (const auto& [id, device] : devices_) {
    const std::uint64_t needed = wanted.total(id);
    if (grows(id) && device.free_bytes > 0 && needed > device.free_bytes) return {id, needed, device.free_bytes, false};
  }
  return {};
}

/// The idle grant that was used longest ago and whose end would make room there; end() when there is none.
std::list<Ledger::Entry>::iterator Ledger::least_recent(const MemoryRequest& request, const std::string& place) {
  const Sums with = sums(&request, true), without = sums(&request, false);
  const std::set<std::string> in_use = keys_in_use();
  const auto has_parts = [&](const Claim& claim) {  // that lie there, and go with it
    return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& each) {
      return !each.request.part_of.empty() && each.request.part_of == claim.key && !stays(each, in_use) &&
             std::any_of(each.request.claims.begin(), each.request.claims.end(),
                         [&](const Claim& own) { return own.place == place && own.bytes > 0; });
    });
  };
  const auto frees = [&](const Entry& entry) {
    return std::any_of(entry.request.claims.begin(), entry.request.claims.end(), [&](const Claim& claim) {
      if (has_parts(claim)) return true;
      if (claim.place != place || claim.bytes == 0) return false;
      if (claim.key.empty()) return true;
      const Sums::Key key{claim.place, claim.key};
      const auto kept = without.all.find(key);
      return with.all.at(key).bytes() > (kept == without.all.end() ? 0 : kept->second.bytes());
    });
  };
  auto found = entries_.end();
  for (auto at = entries_.begin(); at != entries_.end(); ++at) {
    if (!at->idle() || at->leaving || !frees(*at)) continue;
    if (found == entries_.end() || at->last_use < found->last_use) found = at;
  }
  return found;
}

std::list<Ledger::Entry>::iterator Ledger::book(MemoryRequest request, bool in_use) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    const Shortage short_of = shortage(request, true);
    if (short_of.place.empty()) {
      const auto entry = entries_.insert(entries_.end(), Entry{std::move(request)});
      entry->n_uses = in_use ? 1 : 0;
      entry->last_use = ++clock_;
      return entry;
    }
    // Nothing is given up in vain.
    if (const Shortage at_best = shortage(request, false); !at_best.place.empty()) refuse(request, at_best);
    const auto victim = least_recent(request, short_of.place);
    if (victim == entries_.end()) {  // what would make room is on its way out, on another thread
      gone_.wait(lock);
      continue;
    }
    victim->leaving = true;
    const std::function<void()> give_up = victim->request.give_up;
    lock.unlock();
    give_up();
    lock.lock();
  }
}

std::shared_ptr<Grant> Ledger::admit(MemoryRequest request) {
  return std::shared_ptr<Grant>(new Grant(shared_from_this(), book(std::move(request), false)));
}

std::shared_ptr<Grant> Ledger::admit_in_use(MemoryRequest request, std::shared_ptr<void>& use) {
  const auto entry = book(std::move(request), true);
  std::shared_ptr<Grant> grant(new Grant(shared_from_this(), entry));
  use = grant->use();
  const std::lock_guard<std::mutex> lock(mutex_);
  --entry->n_uses;  // that of book()
  return grant;
}

std::shared_ptr<void> Ledger::use(std::list<Entry>::iterator entry) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (entry->leaving) return nullptr;
  ++entry->n_uses;
  entry->last_use = ++clock_;
  // Not null, although it points at nothing of interest: users test it.
  return {&*entry, [self = shared_from_this(), entry](void*) {
            const std::lock_guard<std::mutex> end(self->mutex_);
            --entry->n_uses;
            entry->last_use = ++self->clock_;
          }};
}

void Ledger::close(std::list<Entry>::iterator entry) {
  Entry ended;  // what its functions hold may end in here too: after the lock
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::swap(ended, *entry);
    entries_.erase(entry);
  }
  gone_.notify_all();
}

std::shared_ptr<LeaseSlot> Ledger::lease_slot(const std::string& place, const std::string& key) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::weak_ptr<LeaseSlot>& known = leases_[{place, key}];
  std::shared_ptr<LeaseSlot> slot = known.lock();
  if (!slot) {
    slot = std::make_shared<LeaseSlot>();
    slot->ledger = shared_from_this();
    slot->place = place;
    known = slot;
  }
  return slot;
}

std::shared_ptr<const Model> Ledger::lease(const std::shared_ptr<LeaseSlot>& slot, const std::string& who,
                                           const WeightLease& wanted) {
  const std::lock_guard<std::mutex> one(slot->mutex);
  const auto leased = [&](std::shared_ptr<void> in_use) -> std::shared_ptr<const Model> {
    struct Parts {
      std::shared_ptr<LeaseSlot> slot;
      std::shared_ptr<void> use;
      std::shared_ptr<const Model> model;  // goes first
    };
    auto parts = std::make_shared<Parts>(Parts{slot, std::move(in_use), slot->model});
    return {parts, parts->model.get()};
  };
  if (slot->model) {
    if (std::shared_ptr<void> in_use = use(slot->entry)) return leased(std::move(in_use));
    slot->drop();  // who is giving it up finds it gone
  }
  MemoryRequest request;
  request.who = who;
  request.claims = {{slot->place, MemoryKind::weights, kLeasedWeights, wanted.bytes, true}};
  request.give_up = [weak = std::weak_ptr<LeaseSlot>(slot), load = ++slot->n_loads] {
    const std::shared_ptr<LeaseSlot> given = weak.lock();
    if (!given) return;
    // Not waited for: this thread may hold another slot. Whoever holds this one is in lease(), finds that its weights
    // are leaving, and drops them.
    const std::unique_lock<std::mutex> lock(given->mutex, std::try_to_lock);
    if (lock && given->n_loads == load) given->drop();  // else it went already, and came back
  };
  const auto entry = book(std::move(request), true);
  std::shared_ptr<const Model> model;
  try {
    model = wanted.load();
    if (model == nullptr) throw Error(ErrorCode::internal, who, "leased weights were loaded as nothing");
  } catch (...) {  // an edge: the loader's failure is the asker's
    close(entry);
    throw;
  }
  slot->entry = entry;
  slot->model = std::move(model);
  std::shared_ptr<void> in_use = use(entry);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    entry->held = true;
    --entry->n_uses;  // that of book()
  }
  return leased(std::move(in_use));
}

std::vector<DeviceInfo> Ledger::see(std::vector<DeviceInfo> devices) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Sums now = sums(nullptr, true);
  for (DeviceInfo& device : devices) {
    if (device.id == kHostMemory) continue;
    const auto known = devices_.find(device.id);
    if (known == devices_.end() || now.total(device.id) == 0)
      devices_[device.id] = device;
    else
      device.free_bytes = known->second.free_bytes;
  }
  return devices;
}

std::uint64_t Ledger::held(const Claims& claims) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Sums now = sums(nullptr, true);
  std::set<std::string> keys;
  std::uint64_t bytes = 0;
  for (const Claim& claim : claims) {
    const auto found = now.held.find({claim.place, claim.key});
    if (claim.place != kHostMemory || found == now.held.end() || !keys.insert(claim.key).second) continue;
    bytes = plus(bytes, found->second.bytes());
  }
  return bytes;
}

std::pair<std::uint64_t, std::uint64_t> Ledger::others(const Claims& claims) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  MemoryRequest request;
  request.claims = claims;
  Sums alone;
  for (const Claim& claim : claims) alone.add(claim, false);
  const std::uint64_t all = sums(&request, true).total(kHostMemory), kept = sums(&request, false).total(kHostMemory);
  return {minus(all, alone.total(kHostMemory)), minus(all, kept)};
}

MemoryReport Ledger::report() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  MemoryReport report;
  const Sums now = sums(nullptr, true);
  const std::uint64_t limit = machine_.limit ? machine_.limit() : 0;
  report.places.push_back({kHostMemory, limit, plus(machine_.process, now.total(kHostMemory)),
                           plus(machine_.process, now.total_held(kHostMemory))});
  for (const auto& [id, device] : devices_)
    report.places.push_back({id, device.free_bytes, now.total(id), now.total_held(id)});
  // A thing that several claim is one line with all their names.
  std::map<std::tuple<std::string, std::string, std::string>, MemoryLine> lines;
  int n_own = 0;
  for (const Entry& entry : entries_)
    for (const Claim& claim : entry.request.claims) {
      if (claim.bytes == 0) continue;
      const std::string kind(to_string(claim.kind));
      MemoryLine& line = lines[{claim.place, kind, claim.key.empty() ? fmt::format("\n{}", n_own++) : claim.key}];
      const Sums::Key key{claim.place, claim.key};
      line.place = claim.place;
      line.kind = kind;
      if (line.who.find(entry.request.who) == std::string::npos)
        line.who += (line.who.empty() ? "" : ", ") + entry.request.who;
      line.bytes = claim.key.empty() ? claim.bytes : now.all.at(key).bytes();
      const auto held = now.held.find(key);
      if (claim.key.empty())
        line.held = entry.held ? claim.bytes : 0;
      else
        line.held = held == now.held.end() ? 0 : held->second.bytes();
    }
  for (auto& [key, line] : lines) report.lines.push_back(std::move(line));
  std::stable_sort(report.lines.begin(), report.lines.end(),
                   [](const MemoryLine& a, const MemoryLine& b) { return a.bytes > b.bytes; });
  return report;
}

void Ledger::refuse(const MemoryRequest& request, const Shortage& short_of) const {
  const Sums kept = sums(nullptr, false), wanted = sums(&request, false);
  const std::uint64_t more = minus(wanted.total(short_of.place), kept.total(short_of.place));
  std::string text =
      fmt::format("expected room for {} more in the {}, found {} of {} in use or promised", to_bytes_text(more),
                  name_of(short_of.place), to_bytes_text(minus(short_of.needed, more)), to_bytes_text(short_of.limit));
  text += short_of.by_budget              ? " (the memory budget)."
          : short_of.place == kHostMemory ? " (what this machine has)."
                                          : ".";
  std::map<std::string, std::uint64_t> needs;
  for (const Claim& claim : request.claims)
    if (claim.place == short_of.place && claim.bytes > 0) needs[std::string(to_string(claim.kind))] += claim.bytes;
  text += "\n  What is needed:";
  for (const auto& [kind, bytes] : needs)
    text += fmt::format(" {} {}{}", kind, to_bytes_text(bytes), kind == needs.rbegin()->first ? "" : ",");
  std::map<std::string, std::pair<std::uint64_t, bool>> holders;  // bytes, and whether some are shared
  std::map<Sums::Key, std::string> named;                         // things by their first holder
  std::set<std::pair<std::string, std::string>> counted;          // holder and key
  const std::set<std::string> in_use = keys_in_use();
  for (const Entry& entry : entries_) {
    if (!stays(entry, in_use)) continue;
    const std::string& who = entry.request.who;
    for (const Claim& claim : entry.request.claims) {
      if (claim.place != short_of.place || claim.bytes == 0) continue;
      auto& [bytes, shared] = holders[who];
      const bool once = !claim.key.empty() && !claim.part;
      if (once) shared = shared || named.try_emplace({claim.place, claim.key}, who).first->second != who;
      if (!once || counted.emplace(who, claim.key).second) bytes = plus(bytes, claim.bytes);
    }
  }
  std::vector<std::pair<std::string, std::pair<std::uint64_t, bool>>> largest(holders.begin(), holders.end());
  std::stable_sort(largest.begin(), largest.end(),
                   [](const auto& a, const auto& b) { return a.second.first > b.second.first; });
  if (short_of.place == kHostMemory && machine_.process > 0)
    text += fmt::format("\n  Who holds it: the program {}", to_bytes_text(machine_.process));
  else if (!largest.empty())
    text += "\n  Who holds it:";
  constexpr std::size_t kShown = 6;
  for (std::size_t i = 0; i < largest.size() && i < kShown; ++i)
    text += fmt::format("\n    {}: {}{}", largest[i].first, to_bytes_text(largest[i].second.first),
                        largest[i].second.second ? " (what others use too included)" : "");
  text += fmt::format(
      "\n  What would fit: {}a {} of at least {}", largest.empty() ? "" : "wait for one of these to end, or ",
      short_of.place == kHostMemory ? (short_of.by_budget ? "budget" : "machine or container") : "device",
      to_bytes_text(short_of.needed));
  throw Error(ErrorCode::resource, request.who, text);
}

}  // namespace morph
