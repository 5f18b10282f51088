// PlanBuilder: plans made by hand from stages made by hand, so that tests of execution need no compiler, registry or
// weights.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "morph/pipeline.h"

namespace morph::testing {

class PlanBuilder {
 public:
  explicit PlanBuilder(std::string name = "test") : held_(std::make_shared<Held>()) {
    held_->plan.name = name;
    held_->plan.source.name = std::move(name);
  }

  int add(const std::string& name, StageSpec spec, std::shared_ptr<const Stage> stage) {
    held_->specs.push_back(std::move(spec));
    PlanNode node;
    node.name = name;
    node.spec = &held_->specs.back();
    return add_node(std::move(node), std::move(stage));
  }
  int feed(const std::string& name) {
    PlanNode node;
    node.name = name;
    node.app_feed = true;
    return add_node(std::move(node), nullptr);
  }
  int read(const std::string& name) {
    PlanNode node;
    node.name = name;
    node.app_read = true;
    return add_node(std::move(node), nullptr);
  }
  PlanBuilder& link(int from, int from_port, int to, int to_port, std::size_t queue = 8,
                    QueuePolicy policy = QueuePolicy::block, bool delay = false) {
    held_->plan.links.push_back({from, from_port, to, to_port, Format{"event", {}}, queue, policy, delay});
    return *this;
  }
  /// The plan so far; do not add to the builder afterwards.
  std::shared_ptr<const Plan> plan() const { return {held_, &held_->plan}; }
  std::vector<std::shared_ptr<const Stage>> stages() const { return stages_; }
  PlanNode& node(int index) { return held_->plan.nodes[static_cast<std::size_t>(index)]; }

 private:
  struct Held {
    Plan plan;
    std::deque<StageSpec> specs;
  };
  int add_node(PlanNode node, std::shared_ptr<const Stage> stage) {
    held_->plan.nodes.push_back(std::move(node));
    stages_.push_back(std::move(stage));
    return static_cast<int>(held_->plan.nodes.size()) - 1;
  }
  std::shared_ptr<Held> held_;
  std::vector<std::shared_ptr<const Stage>> stages_;
};

}  // namespace morph::testing
