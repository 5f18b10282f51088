// What the three explanations share.
#pragma once

#include <string>

#include "morph/pipeline.h"

namespace morph {

/// "stage.port" of a plan's node; an application node's own name.
std::string port_name(const PlanNode& node, bool input, int port);
/// "own" for a blocking stage's own thread, "1" for a light one, the budget for a heavy one, "" for the application.
std::string threads_of(const Plan& plan, const PlanNode& node);
/// What a node is: its stage type, "fed by the program", "read by the program".
std::string kind_of(const PlanNode& node);
/// "audio" of "audio/pcm"; the whole of "event".
std::string modality_of(const Format& format);

}  // namespace morph
