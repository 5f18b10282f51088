// `morph replay FILE`: makes an output again from the provenance it carries and says whether the bytes are the same.
#include "morph/replay.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "console.h"
#include "execution.h"
#include "morph/message.h"
#include "morph/provenance.h"
#include "morph/scratch_folder.h"
#include "options.h"
#include "output_checks.h"
#include "subcommands.h"

namespace morph::command {
namespace {

struct ReplayOptions {
  CommonOptions common;
  std::string file;
  std::string out;
};

int replay(ReplayOptions options) {
  const ReplayRecord record = read_replay(options.file);
  const ScratchFolder folder;
  const std::string out =
      !options.out.empty()
          ? options.out
          : (folder.path() / ("replay" + std::filesystem::path(options.file).extension().string())).string();
  if (!options.out.empty()) check_outputs({options.file}, {out}, "");
  options.common.seed = record.seed;
  if (options.common.threads == 0) options.common.threads = record.n_threads;
  const std::unique_ptr<Engine> engine = make_engine(options.common);
  ReplayRequest request = prepare_replay(*engine, record, out);
  const Outcome outcome = execute(*engine, request.pipeline, std::move(request.compile), options.common);
  if (outcome.exit_code != 0) return outcome.exit_code;
  const bool same = file_sha256(out, false) == file_sha256(options.file, false);
  fmt::print("{}: {}\n", shown_text(options.file),
             same ? "replayed, the same bytes" : "replayed, but the bytes differ");
  return same ? 0 : 1;
}

}  // namespace

void add_replay(CLI::App& app, CommandResult& result) {
  auto options = std::make_shared<ReplayOptions>();
  CLI::App* command = app.add_subcommand("replay", "Make an output again from its provenance and compare the bytes");
  command->add_option("FILE", options->file, "An output of morph")->required();
  command->add_option("-o,--output", options->out, "Keep the new one here");
  command->add_option("--threads", options->common.threads, "Thread budget (default: as then)");
  command->add_flag("-q,--quiet", options->common.quiet, "No progress");
  command->callback([&result, options] { result.exit_code = replay(*options); });
}

}  // namespace morph::command
