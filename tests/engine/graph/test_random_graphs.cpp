// Random pipelines over the stub stages, seeded: whatever compiles must be a sound plan, and compiling is repeatable.
#include <catch2/catch.hpp>
#include <random>
#include <set>

#include "engine/graph/compile_fixture.h"

using namespace morph;
using namespace morph::testing;

namespace {

/// A document of `n` stages, each linked to earlier ones; mistakes with probability `p_wrong`.
Pipeline random_pipeline(std::mt19937& random, int n, double p_wrong) {
  const auto chance = [&](double p) { return std::uniform_real_distribution<>(0, 1)(random) < p; };
  const auto below = [&](std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random);
  };
  Pipeline pipeline;
  pipeline.name = "random";
  std::vector<std::string> sounds, texts;
  const auto link = [&](const std::vector<std::string>& from, const std::string& to) {
    if (!from.empty()) pipeline.links.push_back({from[below(from.size())], to, 0, QueuePolicy::block, false});
  };
  for (int i = 0; i < n; ++i) {
    PipelineStage stage;
    stage.name = "s" + std::to_string(i);
    const std::size_t kind = i == 0 ? 0 : i == 1 ? 1 : below(6);
    if (kind == 0) {
      stage.stage = "sound/read";
      const std::int64_t rates[] = {8000, 16000, 44100};
      stage.params =
          Params({{"rate", Value{rates[below(3)]}}, {"channels", Value{static_cast<std::int64_t>(1 + below(2))}}});
      sounds.push_back(stage.name + ".out");
    } else if (kind == 1) {
      stage.stage = "sound/hear";
      stage.params = Params({{"model", Value{std::string("m")}}});
      link(sounds, stage.name + ".sound");
      if (chance(0.3)) link(texts, stage.name + ".hint");
      texts.push_back(stage.name + ".words");
    } else if (kind == 2) {
      stage.stage = "words/rewrite";
      link(texts, stage.name + ".in");
      texts.push_back(stage.name + ".out");
    } else if (kind == 3) {
      stage.stage = "words/join";
      link(texts, stage.name + ".a");
      link(texts, stage.name + ".b");
      texts.push_back(stage.name + ".out");
    } else {
      stage.stage = kind == 4 ? "words/write" : "sound/preview";
      link(kind == 4 ? texts : sounds, stage.name + ".in");
    }
    if (chance(p_wrong)) stage.stage = "words/write";
    pipeline.stages.push_back(stage);
  }
  if (chance(p_wrong))
    pipeline.links.push_back({texts[0], pipeline.stages[below(pipeline.stages.size())].name + ".in", 0, {}, false});
  pipeline.outputs.push_back({"out", "words", {texts[below(texts.size())]}, "", false});
  return pipeline;
}

void check_sound(const Plan& plan) {
  std::set<std::string> names;
  for (const PlanNode& node : plan.nodes) {
    CHECK(names.insert(node.name).second);
    if (node.spec == nullptr) continue;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) CHECK((node.inputs[i] || node.spec->inputs[i].optional));
    for (const ParamSpec& param : node.spec->params) CHECK(node.params.values().count(param.name) == 1);
  }
  std::set<std::pair<int, int>> fed;
  std::set<int> readable;
  for (const PlanLink& link : plan.links) {
    const PlanNode& from = plan.nodes.at(static_cast<std::size_t>(link.from_node));
    const PlanNode& to = plan.nodes.at(static_cast<std::size_t>(link.to_node));
    CHECK(link.from_node < link.to_node);
    CHECK(fed.emplace(link.to_node, link.to_port).second);
    CHECK(from.outputs.at(static_cast<std::size_t>(link.from_port)) == link.format);
    CHECK(to.inputs.at(static_cast<std::size_t>(link.to_port)) == link.format);
    if (to.spec != nullptr) {
      bool accepted = false;
      for (const FormatPattern& pattern : to.spec->inputs[static_cast<std::size_t>(link.to_port)].formats)
        accepted = accepted || matches(pattern, link.format);
      CHECK(accepted);
    }
    readable.insert(link.from_node);
  }
  for (std::size_t i = 0; i < plan.nodes.size(); ++i)
    if (plan.nodes[i].spec != nullptr && plan.nodes[i].spec->sink_of.empty())
      CHECK(readable.count(static_cast<int>(i)) == 1);
}

}  // namespace

TEST_CASE("random pipelines compile to sound plans", "[unit]") {
  Compiler compiler;
  int n_plans = 0, n_refused = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const Pipeline pipeline = random_pipeline(random, 2 + static_cast<int>(seed % 30), seed % 3 == 0 ? 0.1 : 0.0);
    INFO("seed " << seed << "\n" << to_json(pipeline));
    const CompileResult result = compile_pipeline(pipeline, compiler.options, compiler.environment);
    if (result.plan == nullptr) {
      ++n_refused;
      CHECK(count_errors(result) > 0);
      continue;
    }
    ++n_plans;
    CHECK(count_errors(result) == 0);
    check_sound(*result.plan);
    const CompileResult again =
        compile_pipeline(parse_pipeline(to_json(pipeline), "again"), compiler.options, compiler.environment);
    REQUIRE(again.plan != nullptr);
    CHECK(explain_json(*again.plan) == explain_json(*result.plan));
  }
  CHECK(n_plans > 50);
  CHECK(n_refused > 20);
}
