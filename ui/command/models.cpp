// `morph models`: checkpoints on this machine, the families and devices that this build knows.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "console.h"
#include "morph/json_limits.h"
#include "morph/message.h"
#include "morph/regular_file.h"
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
  std::error_code failed;
  for (std::filesystem::recursive_directory_iterator at(folder, failed), end; !failed && at != end;
       at.increment(failed)) {
    std::error_code unknown;
    if (!at->is_regular_file(unknown)) continue;
    const std::uintmax_t size = at->file_size(unknown);
    if (!unknown) bytes += size;
  }
  return bytes;
}

/// What the folder's morph.json says; an empty object and a warning when it says nothing that can be understood.
nlohmann::json read_about(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "morph.json";
  const auto odd = [&](const std::string& why) {
    write_message(fmt::format("warning: {}: {}\n", shown_text(file.string()), why));
    return nlohmann::json::object();
  };
  if (const std::string other = other_than_file(file); !other.empty())
    return other == "nothing" ? nlohmann::json::object() : odd("expected a file, found " + other);
  try {
    const JsonLimits limits{1 << 20, 16, 1 << 14};
    const std::string text = read_regular_file(file, limits.bytes, ErrorCode::weights);
    if (const std::string excess = json_excess(text, limits); !excess.empty()) return odd(excess);
    nlohmann::json about = nlohmann::json::parse(text, nullptr, false);
    return about.is_object() ? about : odd("expected a JSON object, found other text");
  } catch (const Error& error) {
    return odd(shown_text(error.message()));
  }
}

std::string text_in(const nlohmann::json& object, const char* key) {
  return object.contains(key) && object[key].is_string() ? object[key].get<std::string>().substr(0, 200)
                                                         : std::string();
}

/// The family that knows this folder; empty when none does.
std::string family_of(const Engine& engine, const std::filesystem::path& folder) {
  for (const auto& [name, spec] : engine.registry().families()) try {
      if (spec.recognise && spec.recognise(folder)) return name;
    } catch (const std::exception&) {  // an edge: an odd checkpoint concerns itself alone
    }
  return {};
}

nlohmann::json describe(const Engine& engine, const std::filesystem::path& folder) {
  const nlohmann::json about = read_about(folder);
  const std::string family = text_in(about, "family");
  return {{"name", folder.filename().string()},
          {"family", family.empty() ? family_of(engine, folder) : family},
          {"licence", text_in(about, "licence")},
          {"bytes", folder_bytes(folder)},
          {"path", folder.string()}};
}

int list_checkpoints(const Engine& engine, bool json) {
  nlohmann::json list = nlohmann::json::array();
  for (const std::filesystem::path& root : engine.locator().roots()) {
    std::error_code failed;
    std::vector<std::filesystem::path> folders;
    for (const auto& entry : std::filesystem::directory_iterator(root, failed))
      if (std::error_code unknown; entry.is_directory(unknown) && !entry.path().filename().string().starts_with('.'))
        folders.push_back(entry.path());
    std::sort(folders.begin(), folders.end());
    for (const auto& folder : folders) list.push_back(describe(engine, folder));
  }
  if (json) {
    fmt::print("{}\n", list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return 0;
  }
  const auto shown = [](const nlohmann::json& value) { return shown_text(value.get<std::string>()); };
  for (const nlohmann::json& model : list)
    fmt::print("{:<28}{:<16}{:>12}  {}\n", shown(model["name"]), shown(model["family"]),
               human_bytes(model["bytes"].get<std::uintmax_t>()), shown(model["licence"]));
  if (list.empty()) write_message("no models yet; `morph pull starter` fetches the starter pack\n");
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
      fmt::print("  param {:<16}{}{}\n", param.name, param.help, default_note(param));
  }
  return 0;
}

int models(const ModelsOptions& options) {
  const std::unique_ptr<Engine> engine = make_engine(options.common);
  if (options.devices) return list_devices(*engine, options.common.json);
  if (options.stages) return list_stages(*engine);
  if (options.families) {
    for (const auto& [name, family] : engine->registry().families())
      fmt::print("{:<20}{:<12}{}\n", name, family.job, family.help);
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
