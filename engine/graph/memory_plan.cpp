// See memory_plan.h.
#include "graph/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "graph/params.h"
#include "graph/stage_key.h"

namespace morph {
namespace {

constexpr std::uint64_t kSmallPacket = 4096;  // what Estimate::packet_bytes = 0 stands for

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

std::string stage_claim_key(const std::string& stage_key) { return "stage|" + stage_key; }
std::string pool_claim_key(const std::string& stage_key) { return "pool|" + stage_key; }

PlanClaims plan_claims(const Plan& plan) {
  PlanClaims claims;
  std::map<std::string, std::uint64_t> peaks;  // by stage
  for (const PlanNode& node : plan.nodes) {
    if (node.spec == nullptr) continue;
    const Estimate& estimate = node.estimate;
    const std::string key = stage_key(node, plan.n_threads), &place = node.device;
    const auto loaded = [&](const std::string& where, MemoryKind kind, std::string of, std::uint64_t bytes) {
      claims.loaded.push_back({where, kind, std::move(of), bytes, false});
    };
    loaded(place, MemoryKind::weights, stage_claim_key(key), 0);
    const std::string weights = estimate.weights_key.empty() ? key : estimate.weights_key;
    loaded(place, MemoryKind::weights, estimate.weights_leased ? kLeasedWeights : "weights|" + weights,
           estimate.weights);
    const std::string library = estimate.runtime_key.empty() ? node.spec->name : estimate.runtime_key;
    loaded(kHostMemory, MemoryKind::library, "library|" + library, estimate.runtime);
    if (estimate.scratch_shared)
      loaded(place, MemoryKind::scratch, "scratch|" + key, estimate.scratch);
    else
      claims.run.push_back({place, MemoryKind::scratch, "", estimate.scratch, false});
    if (estimate.session_pooled) loaded(place, MemoryKind::session, pool_claim_key(key), estimate.session);
    claims.run.push_back({place, MemoryKind::session, estimate.session_pooled ? pool_claim_key(key) : "",
                          estimate.session, estimate.session_pooled});
    peaks[weights] = std::max(peaks[weights], estimate.load_peak);
  }
  std::uint64_t links = 0;
  for (const PlanLink& link : plan.links) {
    const std::uint64_t packet = plan.nodes[static_cast<std::size_t>(link.from_node)].estimate.packet_bytes;
    const std::uint64_t each = packet == 0 ? kSmallPacket : packet;
    links = plus(links, std::max(each, std::min(times(link.queue, each), link.bytes)));
  }
  claims.run.push_back({kHostMemory, MemoryKind::link, "", links, false});
  std::uint64_t largest = 0, second = 0;
  for (const auto& [key, bytes] : peaks) {
    second = std::max(second, std::min(largest, bytes));
    largest = std::max(largest, bytes);
  }
  claims.load_peak = plus(largest, second);
  return claims;
}

MemoryPlan plan_memory(std::span<const Plan* const> plans, std::uint64_t process_bytes) {
  MemoryPlan memory;
  memory.process = process_bytes;
  const auto sum_of = [&](const std::string& place, MemoryKind kind) -> std::uint64_t& {
    if (place != kHostMemory) return memory.by_device[place];
    switch (kind) {
      case MemoryKind::library:
        return memory.runtimes;
      case MemoryKind::weights:
        return memory.weights;
      case MemoryKind::session:
        return memory.sessions;
      case MemoryKind::scratch:
        return memory.scratch;
      case MemoryKind::link:
        return memory.links;
      case MemoryKind::loading:
        break;
    }
    return memory.load_peak;
  };
  std::map<std::tuple<std::string, MemoryKind, std::string>, ClaimedThing> things;
  const auto add = [&](const Claim& claim) {
    if (!claim.key.empty()) {
      things[{claim.place, claim.kind, claim.key}].add(claim);
    } else if (claim.bytes > 0) {
      std::uint64_t& sum = sum_of(claim.place, claim.kind);
      sum = plus(sum, claim.bytes);
    }
  };
  for (const Plan* plan : plans) {
    const PlanClaims claims = plan_claims(*plan);
    for (const Claim& claim : claims.loaded) add(claim);
    for (const Claim& claim : claims.run) add(claim);
    memory.load_peak = std::max(memory.load_peak, claims.load_peak);  // plans load one after the other
  }
  for (const auto& [key, thing] : things) {
    if (thing.bytes() == 0) continue;
    std::uint64_t& sum = sum_of(std::get<0>(key), std::get<1>(key));
    sum = plus(sum, thing.bytes());
  }
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
