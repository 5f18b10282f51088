// The scoring form and word error counts of the benchmark.
#include <catch2/catch.hpp>

#include "bench/word_errors.h"
#include "case_file.h"

using morph::bench::word_errors;

TEST_CASE("transcripts that say the same score the same", "[unit]") {
  for (const auto& block : morph::testing::read_cases("bench/scoring.case")) {
    REQUIRE(block.size() == 2);
    CHECK(morph::bench::scoring_text(block[0].second) == morph::bench::scoring_text(block[1].second));
  }
}

TEST_CASE("word errors are counted by kind", "[unit]") {
  const auto none = word_errors("One two three.", "one, two, 3");
  CHECK(none.n_words == 3);
  CHECK(none.rate() == 0.0);
  const auto some = word_errors("the cat sat on the mat", "the bat sat the mat now");
  CHECK(some.n_words == 6);
  CHECK(some.n_substituted == 1);
  CHECK(some.n_deleted == 1);
  CHECK(some.n_inserted == 1);
  CHECK(some.rate() == Approx(0.5));
  CHECK(word_errors("", "").rate() == 0.0);
  CHECK(word_errors("one two", "").n_deleted == 2);
  CHECK(word_errors("", "one two").n_inserted == 2);
}
