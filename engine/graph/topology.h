// Order, cycles and culling of a flat graph. Delay links are feedback: they do not count for order.
#pragma once

#include <string>
#include <vector>

#include "graph/flatten.h"

namespace morph {

/// Nodes before those that read them; among several the earliest in the document. Shorter than nodes.size() when there
/// is a cycle.
std::vector<int> topological_order(const FlatGraph& graph);

/// One cycle as "a.out -> b.in, b.out -> a.in"; empty when there is none.
std::string find_cycle(const FlatGraph& graph);

/// Removes what no sink and no read output depends on, and returns the names of the removed stages and feeds.
std::vector<std::string> cull(FlatGraph& graph);

}  // namespace morph
