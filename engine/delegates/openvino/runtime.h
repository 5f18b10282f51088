// The OpenVINO runtime of the process: one ov::Core, kept alive by the models compiled on it (the ModelStore holds it
// by a key of its own). Private to this folder.
#pragma once

#include <memory>
#include <openvino/runtime/core.hpp>
#include <string>

#include "morph/model.h"

namespace morph::openvino {

class OpenvinoRuntime final : public Model {
 public:
  ov::Core& core() const { return core_; }

 private:
  mutable ov::Core core_;  // thread-safe by its contract
};

std::shared_ptr<const OpenvinoRuntime> shared_runtime(ModelStore& store);

/// OpenVINO's name of one of our device ids: "cpu" -> "CPU", "gpu:1" -> "GPU.1". Throws Error{device} for another id.
std::string openvino_device(const std::string& device);

/// Throws Error{device} that names what is there when this machine lacks `device`.
void require_device(const OpenvinoRuntime& runtime, const std::string& device, const std::string& where);

/// Whether the kernel shows a device that OpenVINO's plugin of this kind ("gpu", "npu") could drive; costs next to
/// nothing.
bool kernel_has(const std::string& kind);

}  // namespace morph::openvino
