// The search for converters between two ports that do not agree.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "morph/registry.h"
#include "morph/stage.h"

namespace morph {

/// One converter of a chain with the formats on both sides.
struct ConverterHop {
  const StageSpec* spec = nullptr;
  Params params;
  Format input, output;
};

struct ConverterChain {
  std::vector<ConverterHop> hops;  ///< one or two; the first one's input is what the producer must send
};

struct ConverterSearch {
  std::optional<ConverterChain> chain;
  std::vector<std::string> considered;  ///< converters that were tried, for the message
};

/// Breadth first over the registered converters in the order of their names, at most two hops: the shortest chain from
/// one of `offered` to one of `accepted`, the same one every time.
ConverterSearch find_converters(const Registry& registry,
                                const std::function<std::filesystem::path(const std::string&)>& find_model,
                                const std::vector<FormatPattern>& offered, const std::vector<FormatPattern>& accepted);

}  // namespace morph
