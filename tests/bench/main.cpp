// `morph bench`, a program of its own: our speed, accuracy and memory beside those of the libraries people would use
// instead, in one run. It is not part of the product: the product holds no pip, no scoring and no test stubs. `./morph
// bench` builds it, and `morph bench` starts it where it stands beside `morph`.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "bench/bench.h"
#include "console.h"
#include "morph/error.h"

namespace morph::bench {
namespace {

/// Exit code when everything was measured and a target was missed.
constexpr int kMissed = 1;

struct SubBench {
  const char* name;
  BenchRows (*run)(const BenchOptions&);
};

constexpr SubBench kSubBenches[] = {{"hop", bench_hop},       {"trunk", bench_trunk}, {"hearing", bench_hearing},
                                    {"speech", bench_speech}, {"voice", bench_voice}, {"memory", bench_memory},
                                    {"busy", bench_busy}};

double load_per_core() {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  return load / std::max(1u, std::thread::hardware_concurrency());
}

std::string processor() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

void print_rows(const BenchRows& rows) {
  for (const BenchRow& row : rows) {
    std::string line = fmt::format("{:<8} {:<30} {:>9.4g} ({:.4g}) {:<6}", row.bench, row.what, row.ours.best(),
                                   row.ours.median(), row.unit);
    if (row.compared())
      line += fmt::format(" {:<30} {:>9.4g} ({:.4g})  x{:.2f}", row.peer, row.theirs.best(), row.theirs.median(),
                          row.ratio());
    if (const std::optional<bool> met = row.met())
      line += fmt::format("  target {}: {}", row.target_text(), *met ? "met" : "MISSED");
    if (!row.note.empty()) line += "  " + row.note;
    fmt::print("{}\n", line);
  }
  fflush(stdout);
}

nlohmann::json to_json(const BenchRow& row) {
  nlohmann::json out = {{"bench", row.bench},
                        {"what", row.what},
                        {"unit", row.unit},
                        {"ours", row.ours.best()},
                        {"ours_median", row.ours.median()},
                        {"ours_all", row.ours.values}};
  if (row.compared()) {
    out["peer"] = row.peer;
    out["theirs"] = row.theirs.best();
    out["theirs_median"] = row.theirs.median();
    out["theirs_all"] = row.theirs.values;
    out["ratio"] = row.ratio();
  }
  if (const std::optional<bool> met = row.met()) {
    out["target"] = row.target_text();
    out["met"] = *met;
  }
  if (!row.note.empty()) out["note"] = row.note;
  return out;
}

int measure(BenchOptions options, const std::vector<std::string>& names) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (options.threads == 0) options.threads = cores;
  const bool all = names.empty() || std::find(names.begin(), names.end(), "all") != names.end();
  const double load = load_per_core();
  nlohmann::json document = {{"processor", processor()},
                             {"cores", cores},
                             {"threads", options.threads},
                             {"load_per_core", load},
                             {"noisy", load > 0.5},
                             {"rows", nlohmann::json::array()},
                             {"failed", nlohmann::json::array()}};
  if (!options.json)
    fmt::print("{}, {} cores, {} threads; best (median) of ours, then of the peer; x > 1: ours is better\n",
               document["processor"].get<std::string>(), cores, options.threads);
  if (load > 0.5) fmt::print(stderr, "warning: the machine is busy (load {:.2f} per core): figures are noisy\n", load);
  int exit_code = 0;
  std::vector<std::string> missed;
  for (const SubBench& sub : kSubBenches) {
    if (!all && std::find(names.begin(), names.end(), sub.name) == names.end()) continue;
    try {
      const BenchRows rows = sub.run(options);
      if (!options.json) print_rows(rows);
      for (const BenchRow& row : rows) document["rows"].push_back(to_json(row));
      for (const BenchRow& row : rows)
        if (!row.met().value_or(true)) missed.push_back(row.bench + ": " + row.what);
    } catch (const Error& error) {
      document["failed"].push_back({{"bench", sub.name}, {"error", error.what()}});
      exit_code = command::report_error(error, false);
    }
  }
  if (options.json) fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  if (exit_code == 0 && !missed.empty()) {
    fmt::print(stderr, "{} of the targets missed: {}\n", missed.size(), fmt::join(missed, "; "));
    exit_code = kMissed;
  }
  return exit_code;
}

}  // namespace
}  // namespace morph::bench

int main(int argc, char** argv) {
  using namespace morph::bench;
  CLI::App app("Measure against the peers, in the same run, as ratios. Ends with 1 when a target is missed.",
               "morph bench");
  BenchOptions options;
  std::vector<std::string> names;
  std::set<std::string> known = {"all"};
  for (const SubBench& sub : kSubBenches) known.insert(sub.name);
  app.add_option("WHAT", names, "trunk, hearing, speech, voice, hop, memory, busy; all when left out")
      ->check(CLI::IsMember(known));
  app.add_option("--threads", options.threads, "Threads of every side (default: all cores)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--repeat", options.repeat, "Measurements of each side (default: 3 to 5)")->check(CLI::Range(1, 1000));
  app.add_flag("--json", options.json, "Machine-readable output");
  try {
    app.parse(argc, argv);
    return measure(options, names);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : morph::exit_code(morph::ErrorCode::config);
  } catch (const morph::Error& error) {
    return morph::command::report_error(error, options.json);
  } catch (const std::exception& error) {
    return morph::command::report_error(morph::Error(morph::ErrorCode::internal, "bench", error.what()), options.json);
  }
}
