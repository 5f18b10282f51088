// See stage_key.h.
#include "graph/stage_key.h"

#include <fmt/format.h>

#include "graph/run_params.h"

namespace morph {

std::string stage_key(const PlanNode& node, int n_threads) {
  const int used = node.spec->load == StageLoad::heavy ? n_threads : 1;
  std::string key = fmt::format("{}|{}|{}", node.spec->name, node.device, used);
  const Params loading = of_scope(*node.spec, node.params, ParamScope::load);
  for (const auto& [name, value] : loading.values()) key += "|" + name + "=" + to_string(value);
  for (const auto* side : {&node.inputs, &node.outputs}) {
    key += "|>";
    for (const std::optional<Format>& format : *side) key += "|" + (format ? to_string(*format) : "-");
  }
  return key;
}

}  // namespace morph
