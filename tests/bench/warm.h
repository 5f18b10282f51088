// A pipeline of ours kept loaded in this process, so that runs can be timed without loading.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "morph/engine.h"

namespace morph::bench {

/// Compiles and loads; run() then is one execution. Not thread-safe.
class WarmPipeline {
 public:
  /// `input` is bound to `source` (a stage such as audio/read) with `parameter` = value of each run.
  /// Throws Error for what the compilation found.
  WarmPipeline(Engine& engine, const std::string& pipeline, Binding input, std::map<std::string, Value> params,
               const std::string& output_file = {});
  struct Result {
    double seconds = 0;
    std::string text;  ///< last final text of the output "text"; empty when the output is a file
  };
  Result run();

 private:
  Engine& engine_;
  std::shared_ptr<const Plan> plan_;
  bool reads_text_ = false;
};

}  // namespace morph::bench
