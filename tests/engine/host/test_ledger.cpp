// The ledger's books on machines that do not exist: what is shared, what makes room, who is refused, and leases.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "host/ledger.h"
#include "morph/error.h"

using namespace morph;
using Catch::Contains;

namespace {

constexpr std::uint64_t kMiB = 1 << 20;

Claim own(std::uint64_t mib, const std::string& place = "cpu") {
  return {place, MemoryKind::session, "", mib * kMiB, false};
}
Claim weights(const std::string& key, std::uint64_t mib, const std::string& place = "cpu") {
  return {place, MemoryKind::weights, key, mib * kMiB, false};
}
Claim part(const std::string& key, std::uint64_t mib, const std::string& place = "cpu") {
  return {place, MemoryKind::session, key, mib * kMiB, true};
}

struct Machine {
  std::atomic<std::uint64_t> limit{1000 * kMiB}, resident{0};
  std::shared_ptr<Ledger> ledger = std::make_shared<Ledger>(
      MachineView{100 * kMiB, [this] { return limit.load(); }, [this] { return resident.load(); }});

  std::uint64_t booked(const std::string& place = "cpu") const {
    for (const MemoryPlace& each : ledger->report().places)
      if (each.place == place) return each.bytes / kMiB;
    return 0;
  }
  std::shared_ptr<Grant> admit(const std::string& who, Claims claims, std::uint64_t budget_mib = 0) {
    return ledger->admit({who, std::move(claims), budget_mib * kMiB, {}});
  }
  void add_device(const std::string& id, std::uint64_t free_mib) {
    ledger->see({DeviceInfo{id, id.substr(0, id.find(':')), "stub", free_mib * kMiB, free_mib * kMiB, "stub"}});
  }
};

/// Something loaded that the ledger may ask to go.
struct Loaded {
  std::shared_ptr<Grant> grant;
  bool gone = false;
  Loaded(Machine& machine, const std::string& who, Claims claims) {
    grant = machine.ledger->admit({who, std::move(claims), 0, [this] {
                                     gone = true;
                                     grant.reset();
                                   }});
  }
};

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::resource);
    return error.what();
  }
  FAIL("expected a refusal");
  return "";
}

struct Weights final : Model {
  explicit Weights(std::atomic<int>& alive) : alive_(alive) { ++alive_; }
  ~Weights() override { --alive_; }
  std::atomic<int>& alive_;
};

}  // namespace

TEST_CASE("what is shared counts once, a pool by its parts or its keeper", "[unit]") {
  Machine machine;
  const auto a = machine.admit("a", {weights("model", 200), own(10)});
  const auto b = machine.admit("b", {weights("model", 200), own(10)});
  CHECK(machine.booked() == 100 + 200 + 20);
  auto keeper = machine.admit("keeper", {{"cpu", MemoryKind::session, "pool", 40 * kMiB, false}});
  auto one = machine.admit("one", {part("pool", 30)});
  CHECK(machine.booked() == 320 + 40);
  auto two = machine.admit("two", {part("pool", 30)});
  CHECK(machine.booked() == 320 + 60);
  keeper.reset();
  one.reset();
  CHECK(machine.booked() == 320 + 30);
}

TEST_CASE("a refusal says what was needed, who holds what and what would fit, and changes nothing", "[unit]") {
  Machine machine;
  const auto painter = machine.admit("painter", {weights("unet", 700)});
  const std::string text = refusal([&] { machine.admit("voice", {weights("piper", 150), own(100)}); });
  CHECK_THAT(text, Contains("voice: expected room for 250 MiB more in the memory, found 800 MiB of 1000 MiB"));
  CHECK_THAT(text, Contains("sessions 100 MiB, weights 150 MiB") && Contains("painter: 700 MiB"));
  CHECK_THAT(text, Contains("the program 100 MiB") && Contains("at least 1.0 GiB"));
  CHECK(machine.booked() == 800);
  CHECK_NOTHROW(machine.admit("voice", {weights("piper", 150), own(50)}));
}

TEST_CASE("what is idle goes before anything is refused, the least recently used first, and no more than needed",
          "[unit]") {
  Machine machine;
  Loaded first(machine, "first", {weights("1", 300)}), second(machine, "second", {weights("2", 300)}),
      third(machine, "third", {weights("3", 200)});
  first.grant->use();  // and it ends at once: the second is now the oldest
  const auto more = machine.admit("more", {weights("4", 250)});
  CHECK(second.gone);
  CHECK_FALSE(first.gone);
  CHECK_FALSE(third.gone);
  {
    const auto in_use = first.grant->use();
    CHECK_THAT(refusal([&] { machine.admit("huge", {own(500)}); }), Contains("first: 300 MiB") && !Contains("third"));
    CHECK_FALSE(third.gone);  // nothing goes in vain
    const auto fits = machine.admit("fits", {own(300)});
    CHECK(third.gone);
    CHECK_FALSE(first.gone);
  }
  const auto rest = machine.admit("rest", {own(600)});
  CHECK(first.gone);
}

TEST_CASE("idle things that would free nothing stay", "[unit]") {
  Machine machine;
  machine.add_device("gpu:0", 500);
  const auto user = machine.admit("user", {weights("shared", 400)});
  Loaded same(machine, "same", {weights("shared", 400)}), elsewhere(machine, "elsewhere", {weights("x", 400, "gpu:0")}),
      other(machine, "other", {weights("y", 300)});
  const auto more = machine.admit("more", {own(300)});
  CHECK(other.gone);
  CHECK_FALSE(same.gone);
  CHECK_FALSE(elsewhere.gone);
}

TEST_CASE("budgets of what is in use bound the whole process; those of idle plans do not", "[unit]") {
  Machine machine;
  auto run = machine.admit("run", {own(100)}, 300);
  CHECK_THAT(refusal([&] { machine.admit("more", {own(150)}); }), Contains("(the memory budget)"));
  run.reset();
  CHECK_NOTHROW(machine.admit("more", {own(150)}));
  CHECK_THROWS_AS(machine.admit("more", {own(150)}, 200), Error);
}

TEST_CASE("what adds nothing is granted even where the limit has fallen", "[unit]") {
  Machine machine;
  const auto held = machine.admit("held", {weights("m", 700)});
  machine.limit = 300 * kMiB;
  CHECK_NOTHROW(machine.admit("same", {weights("m", 700)}));
  CHECK_NOTHROW(machine.admit("smaller", {weights("m", 600)}));
  CHECK_THROWS_AS(machine.admit("more", {own(1)}), Error);
}

TEST_CASE("what the process took without telling counts against the machine", "[unit]") {
  Machine machine;
  const auto held = machine.admit("held", {weights("m", 200)});
  machine.resident = 300 * kMiB;  // planned, and perhaps all there: nothing is known to be amiss before hold()
  held->hold();
  CHECK_NOTHROW(machine.admit("a", {own(700)}));
  machine.resident = 400 * kMiB;  // 100 that nobody booked
  CHECK_THROWS_AS(machine.admit("a", {own(700)}), Error);
  CHECK_NOTHROW(machine.admit("a", {own(600)}));
  CHECK(machine.ledger->report().places.front().held == 300 * kMiB);
}

TEST_CASE("a device is booked like the host: what is there already counts once, two cannot have it all", "[unit]") {
  Machine machine;
  machine.add_device("gpu:0", 1000);
  const auto loaded = machine.admit("plan", {weights("m", 700, "gpu:0")});
  machine.add_device("gpu:0", 300);  // as the driver says with ours on it
  CHECK_NOTHROW(machine.admit("again", {weights("m", 700, "gpu:0"), own(200, "gpu:0")}));
  const auto run = machine.admit("run", {weights("m", 700, "gpu:0"), own(200, "gpu:0")});
  CHECK_THAT(refusal([&] {
               machine.admit("next", {weights("m", 700, "gpu:0"), own(200, "gpu:0")});
             }),
             Contains("expected room for 200 MiB more in the memory of gpu:0, found 900 MiB of 1000 MiB") &&
                 Contains("run: 900 MiB"));
  CHECK(machine.booked() == 100);  // the host's books are its own
}

TEST_CASE("a device that nothing of ours lies on is looked at again", "[unit]") {
  Machine machine;
  machine.add_device("gpu:0", 100);
  CHECK_THROWS_AS(machine.admit("a", {own(500, "gpu:0")}), Error);
  machine.add_device("gpu:0", 600);  // another program went
  CHECK_NOTHROW(machine.admit("a", {own(500, "gpu:0")}));
  CHECK(machine.ledger->see({DeviceInfo{"gpu:0", "gpu", "stub", 0, 7, "stub"}}).front().free_bytes == 7);
}

TEST_CASE("an encoder gives its place on a small device to the denoiser, and comes back", "[unit]") {
  Machine machine;
  machine.add_device("gpu:0", 800);
  std::atomic<int> encoders{0}, denoisers{0}, loads{0};
  const auto wanted = [&](const std::string& key, std::uint64_t mib, std::atomic<int>& alive) {
    return WeightLease{key, mib * kMiB, [&alive, &loads] {
                         ++loads;
                         return std::make_shared<Weights>(alive);
                       }};
  };
  const auto encode = wanted("encoder", 500, encoders), denoise = wanted("denoiser", 600, denoisers);
  // Their plan keeps the larger of the two.
  auto plan = machine.admit("picture", {weights(kLeasedWeights, 600, "gpu:0"), own(100, "gpu:0")});
  auto slot_a = machine.ledger->lease_slot("gpu:0", "encoder"),
       slot_b = machine.ledger->lease_slot("gpu:0", "denoiser");
  for (int round = 0; round < 2; ++round) {
    {
      const auto encoder = machine.ledger->lease(slot_a, "encode", encode);
      CHECK(encoders == 1);
      CHECK(machine.booked("gpu:0") == 700);
      CHECK_THAT(refusal([&] { machine.ledger->lease(slot_b, "denoise", denoise); }), Contains("encode: 500 MiB"));
    }
    CHECK(encoders == 1);  // idle, and still there
    CHECK(machine.ledger->lease(slot_a, "encode", encode) != nullptr);
    CHECK(loads == 2 * round + 1);
    const auto denoiser = machine.ledger->lease(slot_b, "denoise", denoise);
    CHECK(encoders == 0);
    CHECK(denoisers == 1);
    CHECK(machine.booked("gpu:0") == 700);
  }
  slot_b.reset();
  CHECK(denoisers == 0);
  CHECK(machine.booked("gpu:0") == 700);
  plan.reset();
  CHECK(machine.booked("gpu:0") == 0);
}

TEST_CASE("leases that are asked for at once load once, and a failed load leaves nothing booked", "[unit]") {
  Machine machine;
  std::atomic<int> alive{0}, loads{0};
  const auto slot = machine.ledger->lease_slot("cpu", "w");
  const WeightLease bad{"w", 10 * kMiB,
                        []() -> std::shared_ptr<const Model> { throw Error(ErrorCode::weights, "w", "torn"); }};
  CHECK_THROWS_WITH(machine.ledger->lease(slot, "s", bad), Contains("torn"));
  CHECK(machine.booked() == 100);
  const WeightLease good{"w", 10 * kMiB, [&]() -> std::shared_ptr<const Model> {
                           ++loads;
                           return std::make_shared<Weights>(alive);
                         }};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n) {
        const auto model = machine.ledger->lease(slot, "s", good);
        if (dynamic_cast<const Weights*>(model.get()) == nullptr) ++loads;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(loads == 1);
}

TEST_CASE("many threads that push each other out never hold more than there is", "[unit]") {
  Machine machine;
  machine.limit = 400 * kMiB;  // 300 for the threads
  std::atomic<int> alive{0};
  std::atomic<int> failures{0}, admitted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const auto slot = machine.ledger->lease_slot("cpu", std::to_string(t));
      const WeightLease wanted{std::to_string(t), 100 * kMiB,
                               [&]() -> std::shared_ptr<const Model> { return std::make_shared<Weights>(alive); }};
      for (int n = 0; n < 200; ++n) try {
          const auto model = machine.ledger->lease(slot, "t", wanted);
          ++admitted;
          if (alive > 3) ++failures;
        } catch (const Error& error) {
          if (error.code() != ErrorCode::resource) ++failures;
        }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
  CHECK(admitted > 0);
  CHECK(alive == 0);
  CHECK(machine.booked() == 100);
}
