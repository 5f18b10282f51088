// How a row of the benchmark is judged against its target.
#include <catch2/catch.hpp>

#include "bench/bench.h"
#include "bench/hop.h"

using morph::bench::BenchRow;

namespace {

BenchRow row_of(std::vector<double> ours, std::vector<double> theirs, double target, bool higher_is_better = false) {
  BenchRow row;
  row.ours.values = std::move(ours);
  row.theirs.values = std::move(theirs);
  row.ours.higher_is_better = row.theirs.higher_is_better = higher_is_better;
  row.target = target;
  if (!row.theirs.values.empty()) row.peer = "peer";
  return row;
}

}  // namespace

TEST_CASE("a row without a target is not judged", "[unit]") {
  const BenchRow row = row_of({1}, {}, 0);
  CHECK_FALSE(row.met().has_value());
}

TEST_CASE("a row beside a peer is judged by the best of both sides", "[unit]") {
  BenchRow row = row_of({2, 1}, {3, 2}, 1.5);
  CHECK(row.ratio() == Approx(2.0));
  CHECK(row.met() == true);
  row.target = 2.5;
  CHECK(row.met() == false);
  const BenchRow speed = row_of({90, 80}, {100}, 1, true);
  CHECK(speed.ratio() == Approx(0.9));
  CHECK(speed.met() == false);
}

TEST_CASE("error rates are judged by points", "[unit]") {
  BenchRow row = row_of({5.5}, {5}, 1);
  row.allowance = 1.0;
  CHECK(row.met() == true);
  row.allowance = 0.25;
  CHECK(row.met() == false);
}

TEST_CASE("a hop can be measured", "[unit]") { CHECK(morph::bench::measure_stage_hop_us() > 0.0); }
