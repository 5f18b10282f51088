// `morph bench hop`: what it costs to hand a packet from one stage to the next.
#include "bench/bench.h"
#include "bench/hop.h"

namespace morph::bench {

BenchRows bench_hop(const BenchOptions& options) {
  BenchRow row{"hop", "packet from stage to stage", "us", {}, "", {}, 20, ""};
  for (int i = 0; i < options.repeats(5); ++i) row.ours.add(measure_stage_hop_us());
  return {row};
}

}  // namespace morph::bench
