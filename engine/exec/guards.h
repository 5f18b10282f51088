// Guards at stage edges: looks at what a step sent through the functions that modalities registered (morph/guard.h),
// adds it up per output port, and judges a stream when it ends.
//
// A NaN ends the run. A stream that is constant (and not zero), clipped in more than one value of twenty, or empty is a
// warning: it may be what was asked for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "exec/run_graph.h"

namespace morph {
class Registry;
}

namespace morph::exec {

/// What guards found in the packets of one step.
struct GuardFindings {
  std::shared_ptr<const Error> error;  ///< names the stage and port
  std::vector<std::string> warnings;
};

/// Called by the thread that steps `node`, after a step that went well; `done` says that its streams end here.
/// `registry` may be null: nothing is looked at.
GuardFindings guard_step(const Registry* registry, GraphNode& node, bool done);

}  // namespace morph::exec
