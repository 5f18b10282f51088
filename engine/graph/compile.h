// The compiler of pipelines: flatten, check for cycles, cull, choose devices, negotiate formats, estimate, plan memory.
// Reads no weights and starts nothing; the Engine and tests call it with what they know of the machine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "morph/device.h"
#include "morph/pipeline.h"
#include "morph/registry.h"

namespace morph {

struct CompileEnvironment {
  const Registry& registry;  ///< outlives the plans
  const PipelineLibrary& library;
  std::function<std::filesystem::path(const std::string& model)> find_model;
  std::vector<DeviceInfo> devices;   ///< with a "cpu"
  std::uint64_t process_memory = 0;  ///< resident before anything is loaded
  std::uint64_t memory_limit = 0;    ///< what the machine lets this process have; 0 = unknown, no limit
  int n_threads = 1;
  /// What `memory_limit` is, in words, for a pipeline that needs so many bytes. Absent: "what this machine has
  /// available".
  std::function<std::string(std::uint64_t needed)> memory_limit_is{};
  /// Fills in what is booked already: MemoryPlan::held, others and others_idle. May be absent.
  std::function<void(const Plan&, MemoryPlan&)> booked{};
};

/// Never throws for what the document or the options can be blamed for: that is in the diagnostics.
CompileResult compile_pipeline(const Pipeline& pipeline, const CompileOptions& options,
                               const CompileEnvironment& environment);

}  // namespace morph
