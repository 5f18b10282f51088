// See memory_plan.h.
#include "graph/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "graph/params.h"

namespace morph {
namespace {

constexpr std::uint64_t kSmallPacket = 4096;  // what Estimate::packet_bytes = 0 stands for

/// Sums that stop at the largest number: estimates may come from hostile headers.
std::uint64_t plus(std::uint64_t a, std::uint64_t b) {
  return a > std::numeric_limits<std::uint64_t>::max() - b ? std::numeric_limits<std::uint64_t>::max() : a + b;
}

std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  return b != 0 && a > std::numeric_limits<std::uint64_t>::max() / b ? std::numeric_limits<std::uint64_t>::max()
                                                                     : a * b;
}

/// A smaller setting of one parameter and the total with it.
struct Suggestion {
  std::string text;
  std::uint64_t total = 0;
};

/// Values that a parameter could be given instead: its other choices, or halves of its number.
std::vector<Value> alternatives(const ParamSpec& param, const Value& now) {
  std::vector<Value> values;
  for (const std::string& choice : param.choices) {
    const std::string* text = std::get_if<std::string>(&now);
    if (text != nullptr && *text != choice) values.emplace_back(choice);
  }
  if (const std::int64_t* whole = std::get_if<std::int64_t>(&now); whole != nullptr && param.choices.empty())
    for (std::int64_t smaller = *whole / 2; smaller >= 1 && smaller >= *whole / 8; smaller /= 2)
      if (why_not(param, Value{smaller}).empty()) values.emplace_back(smaller);
  return values;
}

std::vector<Suggestion> suggestions(const Plan& plan, std::uint64_t limit,
                                    const std::function<Estimate(const PlanNode&, const Params&)>& estimate_with) {
  std::vector<Suggestion> found;
  int n_left = 64;  // estimates may open files
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
    const PlanNode& node = plan.nodes[i];
    if (node.spec == nullptr || !node.spec->estimate) continue;
    for (const ParamSpec& param : node.spec->params) {
      if (!node.params.has(param.name)) continue;
      for (const Value& value : alternatives(param, node.params.at(param.name))) {
        if (n_left-- <= 0) return found;
        Plan changed = plan;
        changed.nodes[i].params.set(param.name, value);
        try {
          changed.nodes[i].estimate = estimate_with(node, changed.nodes[i].params);
        } catch (const Error&) {  // not a choice on this machine
          continue;
        }
        const Plan* const one[] = {&changed};
        const std::uint64_t total = plan_memory(one, plan.memory.process).total();
        if (total > limit) continue;
        found.push_back(
            {fmt::format("{}.{}={} ({})", node.name, param.name, to_string(value), to_bytes_text(total)), total});
        break;  // the largest of this parameter that fits
      }
    }
  }
  return found;
}

std::string largest_stages(const Plan& plan, const std::string& device) {
  std::vector<const PlanNode*> nodes;
  for (const PlanNode& node : plan.nodes)
    if (node.device == device && stage_bytes(node) > 0) nodes.push_back(&node);
  std::stable_sort(nodes.begin(), nodes.end(),
                   [](const PlanNode* a, const PlanNode* b) { return stage_bytes(*a) > stage_bytes(*b); });
  std::string text;
  constexpr std::size_t kMost = 6;
  for (std::size_t i = 0; i < nodes.size() && i < kMost; ++i) {
    const Estimate& estimate = nodes[i]->estimate;
    text += fmt::format("\n    {}: {} (weights {}, session {}, scratch {})", nodes[i]->name,
                        to_bytes_text(stage_bytes(*nodes[i])), to_bytes_text(estimate.weights),
                        to_bytes_text(estimate.session), to_bytes_text(estimate.scratch));
  }
  return text;
}

}  // namespace

std::uint64_t MemoryPlan::total() const {
  const std::uint64_t loaded = plus(plus(process, runtimes), weights);
  return std::max(plus(loaded, load_peak), plus(plus(loaded, sessions), plus(scratch, links)));
}

std::uint64_t stage_bytes(const PlanNode& node) {
  return plus(plus(node.estimate.weights, node.estimate.session), node.estimate.scratch);
}

std::string to_bytes_text(std::uint64_t bytes) {
  if (bytes == 0) return "0";
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (amount >= 1024.0 && unit + 1 < std::size(units)) {
    amount /= 1024.0;
    ++unit;
  }
  return amount < 10.0 && unit > 0 ? fmt::format("{:.1f} {}", amount, units[unit])
                                   : fmt::format("{:.0f} {}", amount, units[unit]);
}

MemoryPlan plan_memory(std::span<const Plan* const> plans, std::uint64_t process_bytes) {
  MemoryPlan memory;
  memory.process = process_bytes;
  std::map<std::string, std::uint64_t> runtimes;
  std::map<std::pair<std::string, std::string>, std::uint64_t> weights;  // by device and key
  std::map<std::pair<std::string, std::string>, std::uint64_t> peaks;
  std::uint64_t n_keyless = 0;
  for (const Plan* plan : plans) {
    for (const PlanNode& node : plan->nodes) {
      const Estimate& estimate = node.estimate;
      const bool on_host = node.device == "cpu";
      std::uint64_t& own = on_host ? memory.sessions : memory.by_device[node.device];
      std::uint64_t& scratch = on_host ? memory.scratch : memory.by_device[node.device];
      own = plus(own, estimate.session);
      scratch = plus(scratch, estimate.scratch);
      if (estimate.runtime > 0) {
        std::uint64_t& runtime = runtimes[estimate.runtime_key.empty() ? node.spec->name : estimate.runtime_key];
        runtime = std::max(runtime, estimate.runtime);
      }
      const std::pair<std::string, std::string> key{
          node.device, estimate.weights_key.empty() ? fmt::format("\n{}", n_keyless++) : estimate.weights_key};
      weights[key] = std::max(weights[key], estimate.weights);
      peaks[key] = std::max(peaks[key], estimate.load_peak);
    }
    for (const PlanLink& link : plan->links) {
      const std::uint64_t packet = plan->nodes[static_cast<std::size_t>(link.from_node)].estimate.packet_bytes;
      memory.links = plus(memory.links, times(link.queue, packet == 0 ? kSmallPacket : packet));
    }
  }
  for (const auto& [key, bytes] : runtimes) memory.runtimes = plus(memory.runtimes, bytes);
  for (const auto& [key, bytes] : weights) {
    std::uint64_t& sum = key.first == "cpu" ? memory.weights : memory.by_device[key.first];
    sum = plus(sum, bytes);
  }
  std::uint64_t largest = 0, second = 0;
  for (const auto& [key, bytes] : peaks) {
    second = std::max(second, std::min(largest, bytes));
    largest = std::max(largest, bytes);
  }
  memory.load_peak = plus(largest, second);
  return memory;
}

std::vector<Diagnostic> check_memory(const Plan& plan, std::uint64_t limit, const std::string& limit_is,
                                     const std::vector<DeviceInfo>& devices,
                                     const std::function<Estimate(const PlanNode&, const Params&)>& estimate_with) {
  std::vector<Diagnostic> found;
  const auto refuse = [&](std::string message) {
    found.push_back({Diagnostic::Severity::error, ErrorCode::resource, plan.name, std::move(message)});
  };
  const MemoryPlan& memory = plan.memory;
  if (limit > 0 && memory.total() > limit) {
    std::string text = fmt::format("this pipeline needs {} of memory; {} is {}.", to_bytes_text(memory.total()),
                                   limit_is, to_bytes_text(limit));
    text += fmt::format(
        "\n  What needs it: process {}, libraries {}, weights {}, sessions {}, scratch {}, queues {}, "
        "{} more while loading",
        to_bytes_text(memory.process), to_bytes_text(memory.runtimes), to_bytes_text(memory.weights),
        to_bytes_text(memory.sessions), to_bytes_text(memory.scratch), to_bytes_text(memory.links),
        to_bytes_text(memory.load_peak));
    text += largest_stages(plan, "cpu");
    text += fmt::format("\n  What would fit: a budget of at least {} bytes ({})", memory.total(),
                        to_bytes_text(memory.total()));
    for (const Suggestion& each : suggestions(plan, limit, estimate_with)) text += ", or " + each.text;
    refuse(std::move(text));
  }
  for (const auto& entry : memory.by_device) {
    const std::string& id = entry.first;
    const std::uint64_t bytes = entry.second;
    const auto device =
        std::find_if(devices.begin(), devices.end(), [&](const DeviceInfo& each) { return each.id == id; });
    if (device == devices.end() || device->free_bytes == 0 || bytes <= device->free_bytes) continue;
    refuse(fmt::format(
        "this pipeline needs {} on device {} ({}), which has {} free.{}\n  What would fit: another device "
        "for some of these stages (\"executor\")",
        to_bytes_text(bytes), id, device->name, to_bytes_text(device->free_bytes), largest_stages(plan, id)));
  }
  return found;
}

}  // namespace morph
