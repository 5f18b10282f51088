// `morph bench hop`: what it costs to hand a packet from one stage to the next.
#include "bench/bench.h"
#include "morph/hop.h"

namespace morph::command {

BenchRows bench_hop(const BenchOptions& options) {
  BenchRow row{"hop", "packet from stage to stage", "us", {}, "", {}, 20, ""};
  for (int i = 0; i < options.repeats(5); ++i) row.ours.add(exec::measure_stage_hop_us());
  return {row};
}

}  // namespace morph::command
