// What it costs to hand a packet from one stage to the next.
#pragma once

namespace morph::bench {

/// Microseconds per packet and stage over a chain of light stages that do nothing, with one packet under way at a time.
/// Takes a fraction of a second. Any thread. Throws Error.
double measure_stage_hop_us();

}  // namespace morph::bench
