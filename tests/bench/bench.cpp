// Rows of the benchmark's table and what its parts share. See bench.h.
#include "bench/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string_view>

#include "bench/child.h"
#include "morph/error.h"
#include "morph/model.h"
#include "morph/place.h"

namespace morph::bench {

double Samples::best() const {
  if (values.empty()) return 0;
  return higher_is_better ? *std::max_element(values.begin(), values.end())
                          : *std::min_element(values.begin(), values.end());
}

double Samples::median() const {
  if (values.empty()) return 0;
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double BenchRow::ratio() const {
  const double a = ours.best(), b = theirs.best();
  const double better = ours.higher_is_better ? a : b, worse = ours.higher_is_better ? b : a;
  if (worse > 0) return better / worse;
  return better > 0 ? std::numeric_limits<double>::infinity() : 1;  // no errors at all here
}

std::optional<bool> BenchRow::met() const {
  if (target == 0 || ours.values.empty()) return std::nullopt;
  if (compared() && allowance) {
    const double worse = ours.best() - theirs.best();
    return (ours.higher_is_better ? -worse : worse) <= *allowance;
  }
  if (compared()) return ratio() >= target;
  return ours.higher_is_better ? ours.best() >= target : ours.best() <= target;
}

std::string BenchRow::target_text() const {
  if (compared() && allowance)
    return fmt::format("within {:g} {} of {}", *allowance, unit == "%" ? "points" : unit, peer);
  if (compared()) return fmt::format("x{:.2f}", target);
  return fmt::format("{} {:g} {}", ours.higher_is_better ? ">=" : "<=", target, unit);
}

std::filesystem::path bench_asset(const std::string& relative) {
  std::filesystem::path path = share_folder() / "assets" / relative;
  if (!std::filesystem::exists(path))
    throw Error(ErrorCode::config, path.string(), "expected a sample there; set MORPH_SHARE to the source folder");
  return path;
}

std::filesystem::path bench_model(const std::string& name, bool quiet) {
  const std::string script = bench_asset("starter/fetch.py").string();
  try {
    return ModelLocator().find(name);
  } catch (const Error& error) {
    const char* no_pull = std::getenv("MORPH_NO_PULL");
    if (no_pull != nullptr && std::string_view(no_pull) == "1")
      throw Error(ErrorCode::weights, name,
                  std::string(error.what()) + "; the bench's own set: python3 " + script + " --only bench");
  }
  if (!quiet) fmt::print(stderr, "fetching {} (once; needs the network)\n", name);
  try {
    run_child({"/usr/bin/python3", script, "--only", name});
  } catch (const Error& error) {
    throw Error(ErrorCode::weights, name, std::string("could not be fetched. ") + error.what());
  }
  return ModelLocator().find(name);
}

void bench_note(const BenchOptions& options, const std::string& text) {
  if (!options.json) fmt::print(stderr, "{}\n", text);
}

}  // namespace morph::bench
