// The registry: checked insertion, look-up, devices and content sniffing.
#include "morph/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

#include "base/machine_memory.h"
#include "morph/error.h"
#include "morph/regular_file.h"

namespace morph {
namespace {

template <class Map, class Item>
void add_once(Map& map, const std::string& kind, std::string name, Item item) {
  if (name.empty()) throw Error(ErrorCode::internal, "registry", "a " + kind + " needs a name, found an empty one");
  const auto [place, added] = map.try_emplace(std::move(name), std::move(item));
  if (!added)
    throw Error(ErrorCode::internal, "registry",
                fmt::format("{} \"{}\" is registered twice; rename or remove one", kind, place->first));
}

DeviceInfo cpu_device() {
  DeviceInfo cpu;
  cpu.id = cpu.kind = "cpu";
  cpu.name = fmt::format("CPU, {} threads", std::max(1U, std::thread::hardware_concurrency()));
  cpu.total_bytes = total_memory();
  cpu.free_bytes = available_memory();
  cpu.provider = "host";
  return cpu;
}

}  // namespace

void Registry::add_stage(StageSpec spec) {
  if (!spec.create)
    throw Error(ErrorCode::internal, "registry/" + spec.name, "a stage needs a create function; set StageSpec::create");
  std::string name = spec.name;
  add_once(stages_, "stage", std::move(name), std::move(spec));
}

void Registry::add_family(FamilySpec family) { families_->add(std::move(family)); }

void Registry::add_payload(std::string type_name, PayloadDecoder decoder) {
  add_once(payloads_, "payload", std::move(type_name), std::move(decoder));
}

void Registry::add_payload_check(std::string format_type, PayloadCheck check) {
  add_once(payload_checks_, "payload check", std::move(format_type), std::move(check));
}

void Registry::add_devices(DeviceProvider provider) { device_providers_.push_back(std::move(provider)); }

void Registry::add_guard(std::string type_name, GuardFunction guard) {
  add_once(guards_, "guard", std::move(type_name), std::move(guard));
}

void Registry::add_sniffer(Sniffer sniffer) { sniffers_.push_back(std::move(sniffer)); }

const StageSpec* Registry::find_stage(std::string_view name) const {
  const auto found = stages_.find(name);
  return found == stages_.end() ? nullptr : &found->second;
}

const FamilySpec* Registry::find_family(std::string_view name) const {
  const auto found = families_->all().find(name);
  return found == families_->all().end() ? nullptr : &found->second;
}

const PayloadDecoder* Registry::find_payload(std::string_view type_name) const {
  const auto found = payloads_.find(type_name);
  return found == payloads_.end() ? nullptr : &found->second;
}

const GuardFunction* Registry::find_guard(std::string_view type_name) const {
  const auto found = guards_.find(type_name);
  return found == guards_.end() ? nullptr : &found->second;
}

const PayloadCheck* Registry::find_payload_check(std::string_view format_type) const {
  const auto found = payload_checks_.find(format_type);
  return found == payload_checks_.end() ? nullptr : &found->second;
}

std::vector<DeviceInfo> Registry::devices() const {
  std::vector<DeviceInfo> all;
  for (const DeviceProvider& provider : device_providers_)
    for (DeviceInfo& device : provider()) {
      if (device.id == "cpu")
        all.insert(all.begin(), std::move(device));
      else
        all.push_back(std::move(device));
    }
  if (all.empty() || all.front().id != "cpu") all.insert(all.begin(), cpu_device());
  return all;
}

std::string Registry::sniff(const std::filesystem::path& file) const {
  if (const std::string other = other_than_file(file); !other.empty() && other != "nothing" && other != "a folder")
    throw Error(ErrorCode::config, file.string(),
                "expected a file, found " + other + "; what comes through a pipe goes to standard input (-)");
  std::ifstream in(file, std::ios::binary);
  std::array<char, 4096> head{};
  if (in) in.read(head.data(), static_cast<std::streamsize>(head.size()));
  if (!in.is_open() || in.bad() || std::filesystem::is_directory(file))
    throw Error(ErrorCode::format, file.string(),
                fmt::format("expected a readable file; {}",
                            std::filesystem::is_directory(file) ? "this is a folder" : std::strerror(errno)));
  return sniff(file, std::as_bytes(std::span(head.data(), static_cast<std::size_t>(in.gcount()))));
}

std::string Registry::sniff(const std::filesystem::path& name, std::span<const std::byte> head) const {
  for (const Sniffer& sniffer : sniffers_)
    if (std::string modality = sniffer(name, head); !modality.empty()) return modality;
  return "";
}

}  // namespace morph
