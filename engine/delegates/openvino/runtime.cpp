// Devices and the shared ov::Core; see runtime.h.
#include "delegates/openvino/runtime.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <openvino/runtime/properties.hpp>
#include <system_error>

#include "delegates/openvino/delegate.h"
#include "morph/error.h"
#include "morph/log.h"
#include "morph/registry.h"

namespace morph::openvino {
namespace {

bool starts_with_any_entry(const std::filesystem::path& folder, const std::string& prefix) {
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->path().filename().string().starts_with(prefix)) return true;
  return false;
}

bool has_intel_gpu() {
  std::error_code error;
  for (std::filesystem::directory_iterator at("/sys/class/drm", error), end; !error && at != end; at.increment(error)) {
    if (!at->path().filename().string().starts_with("renderD")) continue;
    std::string vendor;
    std::ifstream(at->path() / "device" / "vendor") >> vendor;
    if (vendor == "0x8086") return true;
  }
  return false;
}

std::string device_id(const std::string& openvino_name) {
  std::string id = openvino_name;
  std::transform(id.begin(), id.end(), id.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::replace(id.begin(), id.end(), '.', ':');
  return id;
}

std::vector<DeviceInfo> accelerators() {
  std::vector<DeviceInfo> devices;
  if (!kernel_has("gpu") && !kernel_has("npu")) return devices;
  try {
    ov::Core core;
    for (const std::string& name : core.get_available_devices()) {
      const bool is_gpu = name.starts_with("GPU");
      if (!is_gpu && !name.starts_with("NPU")) continue;
      DeviceInfo info;
      info.id = device_id(name);
      info.kind = is_gpu ? "gpu" : "npu";
      info.name = core.get_property(name, ov::device::full_name);
      info.provider = "openvino";
      devices.push_back(std::move(info));
    }
  } catch (const ov::Exception& error) {  // a driver that cannot be asked is a device that is not there
    log(LogLevel::warning, "exec/openvino", fmt::format("devices cannot be listed: {}", error.what()));
  }
  return devices;
}

}  // namespace

bool kernel_has(const std::string& kind) {
  return kind == "npu" ? starts_with_any_entry("/dev/accel", "accel") : has_intel_gpu();
}

std::shared_ptr<const OpenvinoRuntime> shared_runtime(ModelStore& store) {
  return store.get_as<OpenvinoRuntime>("openvino/runtime", [] { return std::make_shared<const OpenvinoRuntime>(); });
}

std::string openvino_device(const std::string& device) {
  const std::size_t colon = device.find(':');
  const std::string kind = device.substr(0, colon);
  const std::string index = colon == std::string::npos ? "" : device.substr(colon + 1);
  const bool good_index =
      colon == std::string::npos || (!index.empty() && index.find_first_not_of("0123456789") == std::string::npos);
  if ((kind != "cpu" && kind != "gpu" && kind != "npu") || !good_index)
    throw Error(ErrorCode::device, device,
                "expected a device that OpenVINO drives (cpu, gpu, gpu:N, npu), found another; choose one of these for "
                "this stage");
  std::string name = kind == "cpu" ? "CPU" : kind == "gpu" ? "GPU" : "NPU";
  if (!index.empty() && kind != "cpu") name += "." + index;
  return name;
}

void require_device(const OpenvinoRuntime& runtime, const std::string& device, const std::string& where) {
  const std::string name = openvino_device(device);
  if (name == "CPU") return;
  std::vector<std::string> present;
  try {
    present = runtime.core().get_available_devices();
  } catch (const ov::Exception& error) {
    throw Error(ErrorCode::device, where, fmt::format("device {} cannot be asked for: {}", device, error.what()));
  }
  const auto same = [&](const std::string& found) {
    return found == name || (name.find('.') == std::string::npos && found.starts_with(name + ".")) ||
           (found.find('.') == std::string::npos && name == found + ".0");
  };
  if (std::none_of(present.begin(), present.end(), same)) {
    std::string ids;
    for (const std::string& found : present) ids += (ids.empty() ? "" : ", ") + device_id(found);
    throw Error(ErrorCode::device, where,
                fmt::format("device {} was asked for, but OpenVINO finds only {} on this machine (no such hardware, or "
                            "no driver); choose one of these",
                            device, ids));
  }
}

void register_openvino_devices(Registry& registry) {
  // Bounds oneDNN's own cache of kernels (see compile_properties). Its only knob is the environment, which must be set
  // before there are threads that read it: an Engine registers before it makes any. A user's value is left alone.
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64", 0);
  registry.add_devices(accelerators);
}

}  // namespace morph::openvino
