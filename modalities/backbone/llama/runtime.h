// The process-wide side of libllama: initialised once, its log routed to ours. Modules and devices are engine/tensor's.
#pragma once

namespace morph::backbone {

/// Loads the device modules and routes libllama's log to morph::log. Any number of calls, any thread.
void ensure_runtime();

}  // namespace morph::backbone
