// What the parts of `morph bench` share: options, a table row, and how a row is judged.
//
// Every figure is measured in the same run as the peer's, the two taking turns; the best of the repeats is compared
// (a busy machine only ever makes a run slower) and the median is shown beside it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace morph::bench {

struct BenchOptions {
  int threads = 0;  ///< resolved: never 0 when a sub-bench sees it
  int repeat = 0;   ///< 0: the sub-bench's own number
  bool json = false;

  int repeats(int own) const { return repeat > 0 ? repeat : own; }
};

/// Repeated measurements of one thing; `higher` says which end is good.
struct Samples {
  std::vector<double> values;
  bool higher_is_better = false;

  void add(double value) { values.push_back(value); }
  double best() const;    ///< 0 when empty
  double median() const;  ///< 0 when empty
};

struct BenchRow {
  std::string bench, what, unit;
  Samples ours;
  std::string peer;  ///< empty: nothing to compare with
  Samples theirs;
  double target = 0;  ///< smallest ratio() that meets it, or, without a peer, the worst value; 0: no target
  std::string note;   ///< word error rates, what was heard
  /// Where a ratio says little (error rates): how much worse than the peer still meets the target, in `unit`.
  std::optional<double> allowance = std::nullopt;

  bool compared() const { return !peer.empty() && !theirs.values.empty(); }
  /// How many times better ours is: above 1 is better, whatever the unit.
  double ratio() const;
  std::optional<bool> met() const;
  std::string target_text() const;
};

using BenchRows = std::vector<BenchRow>;

// The sub-benches. Each throws Error when something it needs is missing; what it has measured so far is lost then.
BenchRows bench_trunk(const BenchOptions& options);
BenchRows bench_hearing(const BenchOptions& options);
BenchRows bench_speech(const BenchOptions& options);
BenchRows bench_voice(const BenchOptions& options);
BenchRows bench_hop(const BenchOptions& options);
BenchRows bench_memory(const BenchOptions& options);
BenchRows bench_busy(const BenchOptions& options);

/// A file of the checkout's assets/. Throws Error{config} when it is not there.
std::filesystem::path bench_asset(const std::string& relative);
/// A model of the starter pack or of the bench's own set, fetched when it is not there (not with MORPH_NO_PULL=1).
/// Throws Error{weights} naming how to get it.
std::filesystem::path bench_model(const std::string& name, bool quiet = false);
/// A sentence to stderr about what is being measured; nothing with --json.
void bench_note(const BenchOptions& options, const std::string& text);

}  // namespace morph::bench
