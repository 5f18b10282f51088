// `morph verify FOLDER`: runs a family on the golden inputs that lie in its checkpoint folder and compares.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "console.h"
#include "interrupts.h"
#include "morph/message.h"
#include "options.h"
#include "subcommands.h"

namespace morph::command {
namespace {

struct VerifyOptions {
  CommonOptions common;
  std::string folder;
};

nlohmann::json number(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr); }

int verify(const VerifyOptions& options) {
  const InterruptWatch watch;
  const std::unique_ptr<Engine> engine = make_engine(options.common);
  const std::filesystem::path folder = engine->locator().find(options.folder);
  const FamilySpec* family = nullptr;
  for (const auto& [name, candidate] : engine->registry().families())
    if (candidate.recognise && candidate.recognise(folder)) family = &candidate;
  if (family == nullptr) {
    std::string known;
    for (const auto& [name, candidate] : engine->registry().families()) known += (known.empty() ? "" : ", ") + name;
    throw Error(ErrorCode::weights, folder.string(), "is not a checkpoint of a known family; known: " + known);
  }
  const std::string device = options.common.device.empty() ? "cpu" : options.common.device;
  const std::vector<VerifyRow> rows = family->verify(folder, device);
  bool good = !rows.empty();
  nlohmann::json list = nlohmann::json::array();
  for (const VerifyRow& row : rows) {
    good = good && row.status == "pass";
    nlohmann::json entry = {{"name", row.name},
                            {"component", row.component},
                            {"status", row.status},
                            {"nmse", number(row.nmse)},
                            {"max_abs", number(row.max_abs)}};
    if (!row.configuration.empty()) entry["configuration"] = row.configuration;
    if (row.tolerance > 0) entry["tolerance"] = row.tolerance;
    if (!row.note.empty()) entry["note"] = row.note;
    list.push_back(std::move(entry));
    if (!options.common.json)
      fmt::print("{:<6}{:<28}{:<12}nmse {:<10.3g}of {:<8.2g}max {:<10.3g}{}{}{}\n", row.status, shown_text(row.name),
                 shown_text(row.component), row.nmse, row.tolerance, row.max_abs, row.configuration,
                 row.configuration.empty() || row.note.empty() ? "" : "; ", row.note);
  }
  if (options.common.json)
    fmt::print("{}\n", nlohmann::json{{"family", family->name}, {"rows", list}}.dump(
                           2, ' ', false, nlohmann::json::error_handler_t::replace));
  else
    fmt::print("{}: {}, {} rows\n", family->name, good ? "verified" : "NOT verified", rows.size());
  return good ? 0 : 1;
}

}  // namespace

void add_verify(CLI::App& app, CommandResult& result) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify", "Compare a checkpoint with its golden/ folder; exit 0 only if every output was covered and passed");
  command->add_option("FOLDER", options->folder, "Checkpoint folder (or model name) that holds golden/")->required();
  add_common_options(*command, options->common);
  command->callback([&result, options] { result.exit_code = verify(*options); });
}

}  // namespace morph::command
