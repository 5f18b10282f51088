// See hop.h. One number is fed, read at the far end, and only then the next is fed: the chain's latency divided by its
// links, the two threads' hand-over at the ends included.
#include "bench/hop.h"

#include <chrono>

#include "exec/executors.h"
#include "testing/plan_builder.h"
#include "testing/stub_stages.h"

namespace morph::bench {

double measure_stage_hop_us() {
  constexpr int kStages = 16, kPackets = 500;
  morph::testing::PlanBuilder builder("hop");
  const auto pass = morph::testing::mapping_stage([](std::int64_t value) { return value; });
  int last = builder.feed("in");
  for (int i = 0; i < kStages; ++i) {
    const int next = builder.add("pass" + std::to_string(i), morph::testing::stub_spec("pass", 1, 1), pass);
    builder.link(last, 0, next, 0);
    last = next;
  }
  builder.link(last, 0, builder.read("out"), 0);
  exec::Executors executors(exec::ExecutorsOptions{});
  const std::unique_ptr<Run> run = executors.create(builder.plan(), builder.stages(), RunOptions{});
  run->start();
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < kPackets; ++i) {
    run->feed("in", morph::testing::number(i));
    if (!run->read("out", std::chrono::seconds(10)))
      throw Error(ErrorCode::internal, "hop", "a packet did not come through within 10 s");
  }
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begun;
  run->end_input("in");
  run->wait();
  return took.count() / kPackets / (kStages + 1);
}

}  // namespace morph::bench
