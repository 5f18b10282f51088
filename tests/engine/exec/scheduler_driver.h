// Drives a Scheduler by hand: one thread, time from a counter. For the tests of this folder.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "exec/executor.h"
#include "exec/scheduler.h"
#include "testing/plan_builder.h"
#include "testing/stub_stages.h"

namespace morph::testing {

struct Driver {
  exec::Scheduler scheduler;
  StreamTime now{0};
  std::vector<std::string> order;        ///< names of stepped nodes
  std::vector<std::size_t> batch_sizes;  ///< one per step
  std::vector<std::shared_ptr<exec::RunGraph>> graphs;

  std::shared_ptr<exec::RunGraph> make(const PlanBuilder& builder, RunOptions options = {}) {
    auto graph = exec::make_run_graph(builder.plan(), builder.stages(), std::move(options));
    const auto nodes = exec::nodes_to_open(*graph);
    auto states = exec::open_states(*graph, nodes);
    for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i]->state = std::move(states[i]);
    graphs.push_back(graph);
    return graph;
  }
  std::shared_ptr<exec::RunGraph> start(const PlanBuilder& builder, RunOptions options = {}) {
    auto graph = make(builder, std::move(options));
    scheduler.start(graph, now);
    return graph;
  }
  std::optional<exec::Step> pick(exec::LaneId lane = exec::kLightLane) { return scheduler.pick(lane, now); }
  void finish(const exec::Step& step) {
    now += std::chrono::microseconds(1);
    const auto results = exec::execute(step, nullptr);
    scheduler.complete(step, results, now);
    collect();
  }
  void collect() {
    for (auto& garbage : scheduler.take_garbage()) scheduler.garbage_gone(*garbage.graph, garbage.states.size());
  }
  bool step(exec::LaneId lane = exec::kLightLane) {
    auto step = pick(lane);
    if (!step) return false;
    for (const auto& item : step->items) order.push_back(item.node->name);
    batch_sizes.push_back(step->items.size());
    finish(*step);
    return true;
  }
  /// Until nothing is ready in any lane. Returns the number of steps.
  int run(int most = 100000) {
    int n = 0;
    collect();
    for (bool progress = true; progress && n < most;) {
      progress = false;
      for (exec::LaneId lane = 0; lane < 16; ++lane)
        if (step(lane)) {
          ++n;
          progress = true;
        }
    }
    return n;
  }
};

inline std::int64_t identity(std::int64_t value) { return value; }

}  // namespace morph::testing
