// Output does not depend on queue sizes, lanes or thread timing: random graphs of stub stages, run under many settings,
// each against what the same graph gives when it is worked out by hand, list by list.
#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <random>

#include "exec/executors.h"
#include "testing/plan_builder.h"
#include "testing/stub_stages.h"

using namespace morph;
using namespace morph::testing;

namespace {

using Numbers = std::vector<std::int64_t>;

/// The same graph for the same `shape`; `tuning` changes queues and loads only. `expected`: what each output gives.
PlanBuilder random_plan(unsigned shape, unsigned tuning, std::vector<Numbers>& expected) {
  std::mt19937 form(shape), tune(tuning);
  const auto load = [&] { return static_cast<StageLoad>(tune() % 3); };
  const auto queue = [&] { return tuning == 0 ? std::size_t{8} : std::size_t{1 + tune() % 5}; };
  PlanBuilder plan;
  struct Out {
    int node, port;
    Numbers numbers;
  };
  std::vector<Out> open;
  for (int i = 0; i < 2; ++i) {
    StageSpec spec = stub_spec("source", 0, 1, load());
    const int first = static_cast<int>(form() % 100);
    Numbers numbers(60);
    std::iota(numbers.begin(), numbers.end(), first);
    open.push_back(
        {plan.add("source" + std::to_string(i), spec, counting_stage(60, first, 1 + static_cast<int>(form() % 3))), 0,
         std::move(numbers)});
  }
  for (int i = 0; i < 8; ++i) {
    const std::string name = "n" + std::to_string(i);
    const auto take = [&] {
      const std::size_t at = form() % open.size();
      const Out out = open[at];
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
      return out;
    };
    const unsigned kind = form() % 3;
    if (kind == 0) {  // split
      const Out from = take();
      const int node = plan.add(name, stub_spec("split", 1, 2, load()), splitting_stage());
      plan.link(from.node, from.port, node, 0, queue());
      Numbers sides[2];
      for (std::size_t k = 0; k < from.numbers.size(); ++k) sides[k % 2].push_back(from.numbers[k]);
      open.push_back({node, 0, std::move(sides[0])});
      open.push_back({node, 1, std::move(sides[1])});
    } else if (kind == 1 && open.size() >= 2) {
      const Out left = take(), right = take();
      StageSpec spec = stub_spec("join", 2, 1, load());
      const int node =
          plan.add(name, spec, joining_stage([](const std::vector<std::int64_t>& n) { return 3 * n[0] - n[1]; }));
      plan.link(left.node, left.port, node, 0, queue()).link(right.node, right.port, node, 1, queue());
      Numbers numbers(std::min(left.numbers.size(), right.numbers.size()));
      for (std::size_t k = 0; k < numbers.size(); ++k) numbers[k] = 3 * left.numbers[k] - right.numbers[k];
      open.push_back({node, 0, std::move(numbers)});
    } else {
      const Out from = take();
      const std::int64_t factor = 1 + form() % 5;
      StageSpec spec = stub_spec("map", 1, 1, load());
      spec.max_batch = 3;
      const int node = plan.add(name, spec, mapping_stage([factor](std::int64_t value) { return value * factor + 1; }));
      plan.link(from.node, from.port, node, 0, queue());
      Numbers numbers = from.numbers;
      for (std::int64_t& value : numbers) value = value * factor + 1;
      open.push_back({node, 0, std::move(numbers)});
    }
  }
  expected.clear();
  for (std::size_t i = 0; i < open.size(); ++i) {
    plan.link(open[i].node, open[i].port, plan.read("out" + std::to_string(i)), 0, 1000);
    expected.push_back(std::move(open[i].numbers));
  }
  return plan;
}

std::vector<std::vector<std::int64_t>> outputs(const PlanBuilder& plan) {
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  run->wait();
  std::vector<std::vector<std::int64_t>> all;
  for (const PlanNode& node : plan.plan()->nodes) {
    if (!node.app_read) continue;
    all.emplace_back();
    for (;;) {
      auto packet = run->read(node.name, std::chrono::seconds(60));
      REQUIRE(packet);
      if (packet->ends_stream()) {
        CHECK(packet->kind == PacketKind::end);
        break;
      }
      all.back().push_back(number_of(*packet));
    }
  }
  return all;
}

}  // namespace

TEST_CASE("random graphs give the same output whatever queues, lanes and timing", "[unit]") {
  std::size_t n = 0;
  for (unsigned shape = 1; shape <= 20; ++shape) {
    for (unsigned tuning = 0; tuning <= 4; ++tuning) {
      INFO("shape " << shape << ", tuning " << tuning);
      std::vector<Numbers> expected;
      const PlanBuilder plan = random_plan(shape, tuning, expected);
      CHECK(outputs(plan) == expected);
      for (const Numbers& numbers : expected) n += numbers.size();
    }
  }
  CHECK(n > 1000);
}
