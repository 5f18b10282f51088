// `morph models`: checkpoints on this machine, the families and devices that this build knows.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "console.h"
#include "options.h"
#include "subcommands.h"

namespace morph::command {
namespace {

struct ModelsOptions {
  CommonOptions common;
  bool devices = false;
  bool families = false;
  bool stages = false;
};

std::uintmax_t folder_bytes(const std::filesystem::path& folder) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) bytes += entry.file_size();
  return bytes;
}

nlohmann::json describe(const Engine& engine, const std::filesystem::path& folder) {
  nlohmann::json about = nlohmann::json::object();
  if (std::ifstream in(folder / "morph.json"); in) {
    about = nlohmann::json::parse(in, nullptr, false);
    if (!about.is_object()) about = nlohmann::json::object();
  }
  std::string family = about.value("family", "");
  for (const auto& [name, spec] : engine.registry().families())
    if (family.empty() && spec.recognise && spec.recognise(folder)) family = name;
  return {{"name", folder.filename().string()},
          {"family", family},
          {"licence", about.value("licence", "")},
          {"bytes", folder_bytes(folder)},
          {"path", folder.string()}};
}

int list_checkpoints(const Engine& engine, bool json) {
  nlohmann::json list = nlohmann::json::array();
  for (const std::filesystem::path& root : engine.locator().roots()) {
    std::error_code failed;
    std::vector<std::filesystem::path> folders;
    for (const auto& entry : std::filesystem::directory_iterator(root, failed))
      if (entry.is_directory() && !entry.path().filename().string().starts_with('.')) folders.push_back(entry.path());
    std::sort(folders.begin(), folders.end());
    for (const auto& folder : folders) list.push_back(describe(engine, folder));
  }
  if (json) {
    fmt::print("{}\n", list.dump(2));
    return 0;
  }
  for (const nlohmann::json& model : list)
    fmt::print("{:<28}{:<16}{:>12}  {}\n", model["name"].get<std::string>(), model["family"].get<std::string>(),
               human_bytes(model["bytes"].get<std::uintmax_t>()), model["licence"].get<std::string>());
  if (list.empty()) fmt::print(stderr, "no models yet; `morph pull starter` fetches the starter pack\n");
  return 0;
}

int list_devices(const Engine& engine, bool json) {
  nlohmann::json list = nlohmann::json::array();
  for (const DeviceInfo& device : engine.registry().devices()) {
    list.push_back({{"id", device.id},
                    {"kind", device.kind},
                    {"name", device.name},
                    {"provider", device.provider},
                    {"total_bytes", device.total_bytes},
                    {"free_bytes", device.free_bytes}});
    if (!json)
      fmt::print("{:<12}{:<40}{:<10}{} free of {}\n", device.id, device.name, device.provider,
                 human_bytes(device.free_bytes), human_bytes(device.total_bytes));
  }
  if (json) fmt::print("{}\n", list.dump(2));
  return 0;
}

int list_stages(const Engine& engine) {
  for (const auto& [name, spec] : engine.registry().stages()) {
    fmt::print("{}\n  {}\n", name, spec.help);
    for (const PortSpec& port : spec.inputs) fmt::print("  in    {:<16}{}\n", port.name, port.help);
    for (const PortSpec& port : spec.outputs) fmt::print("  out   {:<16}{}\n", port.name, port.help);
    for (const ParamSpec& param : spec.params)
      fmt::print("  param {:<16}{} (default {})\n", param.name, param.help, to_string(param.default_value));
  }
  return 0;
}

int models(const ModelsOptions& options) {
  const std::unique_ptr<Engine> engine = make_engine(options.common);
  if (options.devices) return list_devices(*engine, options.common.json);
  if (options.stages) return list_stages(*engine);
  if (options.families) {
    for (const auto& [name, family] : engine->registry().families()) fmt::print("{:<20}{}\n", name, family.help);
    return 0;
  }
  return list_checkpoints(*engine, options.common.json);
}

}  // namespace

void add_models(CLI::App& app, CommandResult& result) {
  auto options = std::make_shared<ModelsOptions>();
  CLI::App* command = app.add_subcommand("models", "List checkpoints, families, stages and devices");
  command->add_flag("--devices", options->devices, "List devices instead");
  command->add_flag("--families", options->families, "List the model families this build runs");
  command->add_flag("--stages", options->stages, "List every stage with ports and parameters");
  command->add_flag("--json", options->common.json, "Machine-readable output");
  command->callback([&result, options] { result.exit_code = models(*options); });
}

}  // namespace morph::command
