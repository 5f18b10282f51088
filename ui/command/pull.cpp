// `morph pull`: the starter pack, or a published checkpoint from a hub.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "console.h"
#include "hub_folder.h"
#include "interrupts.h"
#include "morph/child_process.h"
#include "morph/hub.h"
#include "morph/message.h"
#include "morph/place.h"
#include "options.h"
#include "subcommands.h"

namespace morph::command {
namespace {

constexpr const char* kDefaultHub = "https://huggingface.co";

struct PullOptions {
  std::string what;
  std::string to;
  std::vector<std::string> include;
  bool quiet = false;
  bool force = false, unchecked = false;
};

/// The starter pack's own fetcher (a Python program of the standard library) does the work.
int pull_starter(const std::string& set, const std::string& to) {
  const std::string program = (share_folder() / "assets" / "starter" / "fetch.py").string();
  if (!std::filesystem::exists(program))
    throw Error(ErrorCode::config, program,
                "the starter pack's fetcher is missing; set MORPH_SHARE to the project's folder");
  std::vector<std::string> command = {"python3", program, set.empty() ? "--ensure" : "--only"};
  if (!set.empty()) command.push_back(set);
  // Where the fetcher puts each model's folder.
  const std::vector<std::string> where = to.empty() ? std::vector<std::string>{} : std::vector{"MORPH_MODELS=" + to};
  int code = 0;
  try {
    code = ChildProcess(command, {}, where).wait();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::config) throw;
    throw Error(ErrorCode::config, "python3", "is not installed: apt-get install python3 python3-venv");
  }
  // The fetcher has said what was wrong; map its codes (3 network, 4 integrity, 5 disk) to ours.
  if (code == 3 || code == 5) return exit_code(ErrorCode::resource);
  if (code == 4) return exit_code(ErrorCode::weights);
  return code;
}

/// Refuses files for which the listing has no hash, unless they were asked for all the same.
void check_hashes(const std::vector<HubFile>& files, bool unchecked) {
  for (const HubFile& file : files) {
    if (is_checked(file)) continue;
    if (!unchecked)
      throw Error(
          ErrorCode::weights, file.path,
          "the hub gives no hash to check it with; fetch from another hub, or take what comes with --unchecked");
    write_message(
        fmt::format("warning: {}: the hub gives no hash; what comes is not checked\n", shown_text(file.path)));
  }
}

/// Fetches what is missing; `folder` has it all then.
void fetch_missing(HubClient& client, const HubModel& model, const std::vector<HubFile>& files, HubFolder& folder,
                   bool quiet) {
  ProgressLine line(quiet);
  std::vector<HubFile> missing;
  std::uint64_t need = 0;
  for (const HubFile& file : files) {
    line.show(1.0, fmt::format("checking {}", file.path));
    if (folder.holds(file.path) && is_downloaded(folder.path() / file.path, file)) continue;
    line.clear();
    if (folder.holds(file.path))
      write_message(fmt::format("{}: is not what the hub has; fetching it again\n",
                                shown_text((folder.path() / file.path).string())));
    missing.push_back(file);
    if (!is_downloaded(folder.staging() / file.path, file)) need += file.bytes;
  }
  line.clear();
  if (missing.empty()) return folder.keep(model.commit);
  std::error_code failed;
  const auto space = std::filesystem::space(folder.staging(), failed);
  if (!failed && space.available < need)
    throw Error(ErrorCode::resource, folder.path().string(),
                fmt::format("needs {}, the disk has {} free", human_bytes(need), human_bytes(space.available)));
  for (const HubFile& file : missing) {
    if (is_downloaded(folder.staging() / file.path, file)) continue;  // by an attempt that did not get to the end
    client.download(model, file, folder.staging(), [&](double fraction, const std::string& what) {
      line.show(fraction, fmt::format("{} ({})", what, human_bytes(file.bytes)));
    });
    line.clear();
    if (!quiet) write_message(fmt::format("{} {}\n", shown_text(file.path), human_bytes(file.bytes)));
  }
  folder.install(model.commit);
}

int pull_hub(const PullOptions& options) {
  const InterruptWatch watch;  // what is there is kept and resumed
  const HubName name = parse_hub_name(options.what.substr(3));
  const char* hub = std::getenv("MORPH_HUB");
  const char* token = std::getenv("HF_TOKEN");
  HubClient client(hub != nullptr ? hub : kDefaultHub, token != nullptr ? token : "");
  const HubModel model = client.list(name.model(), name.revision);
  const std::vector<HubFile> files = select_files(model, options.include);
  if (files.empty()) throw Error(ErrorCode::config, options.what, "none of its files is wanted; see --include");
  check_hashes(files, options.unchecked);
  HubFolder folder(options.to.empty() ? ModelLocator().roots().front() / name.name : std::filesystem::path(options.to),
                   "hf:" + name.model(), options.force, [](const std::string& place) {
                     write_message(fmt::format("{}: another pull is under way; waiting for it\n", shown_text(place)));
                   });
  fetch_missing(client, model, files, folder, options.quiet);
  fmt::print("{}\n", folder.path().string());
  return 0;
}

int pull(const PullOptions& options) {
  if (options.what == "starter") return pull_starter("", options.to);
  if (options.what.starts_with("hf:")) return pull_hub(options);
  if (options.what.find(':') == std::string::npos && options.what.find('/') == std::string::npos)
    return pull_starter(options.what, options.to);
  throw Error(ErrorCode::config, options.what,
              "expected starter, a name of the starter pack, or hf:ORG/NAME[@REVISION]");
}

}  // namespace

void add_pull(CLI::App& app, CommandResult& result) {
  auto options = std::make_shared<PullOptions>();
  CLI::App* command = app.add_subcommand(
      "pull", "Fetch models: the starter pack, or a published checkpoint with resume and integrity checks");
  command->add_option("WHAT", options->what, "starter, a model of the starter pack, or hf:ORG/NAME[@REVISION]")
      ->required();
  command->add_option("--to", options->to, "Folder to put it in (default: the models folder)");
  command->add_option("--include", options->include, "Only files that match, e.g. \"*.json\" (repeatable)");
  command->add_flag("--force", options->force, "Put it in the place of another model that the folder holds");
  command->add_flag("--unchecked", options->unchecked, "Take files for which the hub gives no hash as they come");
  command->add_flag("-q,--quiet", options->quiet, "No progress");
  command->callback([&result, options] { result.exit_code = pull(*options); });
  command->footer(
      "MORPH_HUB names another hub (a mirror), HF_TOKEN a token for gated models, MORPH_MODELS the folder.");
}

}  // namespace morph::command
