// Devices and the process-wide thread budget.
#pragma once

#include <cstdint>
#include <string>

namespace morph {

struct DeviceInfo {
  std::string id;    ///< "cpu", "cuda:0", "vulkan:0", "npu"
  std::string kind;  ///< "cpu", "cuda", "vulkan", "npu", "gpu"
  std::string name;  ///< as the driver says
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::string provider;  ///< "ggml", "openvino"
};

}  // namespace morph
