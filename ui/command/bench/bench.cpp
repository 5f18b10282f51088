// `morph bench`: our speed, accuracy and memory beside those of the libraries people would use instead, in one run.
#include "bench/bench.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "console.h"
#include "morph/model.h"
#include "options.h"
#include "subcommands.h"

namespace morph::command {
namespace {

struct SubBench {
  const char* name;
  BenchRows (*run)(const BenchOptions&);
};

constexpr SubBench kSubBenches[] = {{"hop", bench_hop},       {"trunk", bench_trunk}, {"hearing", bench_hearing},
                                    {"speech", bench_speech}, {"voice", bench_voice}, {"memory", bench_memory}};

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

int bench(BenchOptions options, const std::vector<std::string>& names) {
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
  for (const SubBench& sub : kSubBenches) {
    if (!all && std::find(names.begin(), names.end(), sub.name) == names.end()) continue;
    try {
      const BenchRows rows = sub.run(options);
      if (!options.json) print_rows(rows);
      for (const BenchRow& row : rows) document["rows"].push_back(to_json(row));
    } catch (const Error& error) {
      document["failed"].push_back({{"bench", sub.name}, {"error", error.what()}});
      exit_code = report_error(error, false);
    }
  }
  if (options.json) fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return exit_code;
}

}  // namespace

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

std::filesystem::path bench_model(const std::string& name) {
  try {
    return ModelLocator().find(name);
  } catch (const Error& error) {
    throw Error(ErrorCode::weights, name,
                std::string(error.what()) + "; the bench's own set: python3 assets/starter/fetch.py --only bench");
  }
}

void bench_note(const BenchOptions& options, const std::string& text) {
  if (!options.json) fmt::print(stderr, "{}\n", text);
}

void add_bench(CLI::App& app, CommandResult& result) {
  struct Given {
    BenchOptions options;
    std::vector<std::string> names;
  };
  auto given = std::make_shared<Given>();
  CLI::App* command = app.add_subcommand("bench", "Measure against the peers, in the same run, as ratios");
  std::set<std::string> known = {"all"};
  for (const SubBench& sub : kSubBenches) known.insert(sub.name);
  command->add_option("WHAT", given->names, "trunk, hearing, speech, voice, hop, memory; all when left out")
      ->check(CLI::IsMember(known));
  command->add_option("--threads", given->options.threads, "Threads of every side (default: all cores)")
      ->check(CLI::Range(1, 1024));
  command->add_option("--repeat", given->options.repeat, "Measurements of each side (default: 3 to 5)")
      ->check(CLI::Range(1, 1000));
  command->add_flag("--json", given->options.json, "Machine-readable output");
  command->callback([&result, given] { result.exit_code = bench(given->options, given->names); });
}

}  // namespace morph::command
