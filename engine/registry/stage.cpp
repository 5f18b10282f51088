// Port look-up of a StageSpec.
#include "morph/stage.h"

#include <algorithm>

namespace morph {
namespace {

int index_of(const std::vector<PortSpec>& ports, std::string_view name) {
  const auto found = std::find_if(ports.begin(), ports.end(), [&](const PortSpec& port) { return port.name == name; });
  return found == ports.end() ? -1 : static_cast<int>(found - ports.begin());
}

}  // namespace

int StageSpec::input_index(std::string_view port) const { return index_of(inputs, port); }

int StageSpec::output_index(std::string_view port) const { return index_of(outputs, port); }

}  // namespace morph
