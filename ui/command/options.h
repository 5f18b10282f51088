// Options that several subcommands share, and the engine they ask for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "morph/engine.h"
#include "morph/provenance.h"

namespace CLI {
class App;
}

namespace morph::command {

struct CommonOptions {
  std::string memory;  ///< "2GiB"; empty: the machine's
  std::string device;  ///< "cuda:0"; empty: the planner chooses
  int threads = 0;     ///< 0: all
  std::uint64_t seed = 0;
  bool json = false;
  bool quiet = false;
  bool force = false;  ///< an output may replace an input
  bool metrics = false;
  bool show = false;  ///< by-products on stderr even where it is no terminal
  std::string trace;  ///< file for a Perfetto trace
  Provenance provenance = Provenance::full;
  std::string checkpoint;  ///< file that the run is saved to; empty: it is not
  std::string checkpoint_every = "5s";
  std::vector<std::string> params;  ///< "name=value" or "stage.param=value"
};

/// Adds --memory, --device, --threads, --seed, --json, --quiet, --trace, --metrics, -p to a subcommand.
void add_common_options(CLI::App& app, CommonOptions& options);

/// --checkpoint and --checkpoint-every, for commands that make something; the second alone for those that go on with
/// it.
void add_checkpoint_options(CLI::App& app, CommonOptions& options);
void add_checkpoint_interval(CLI::App& app, CommonOptions& options);

/// Version of the program, as printed by --version and written into provenance.
std::string version();

std::unique_ptr<Engine> make_engine(const CommonOptions& options);

/// Budget, device and threads. The -p values need the pipeline that they are for (assign_params in morph/request.h).
CompileOptions compile_options(const CommonOptions& options);

}  // namespace morph::command
