// Texts that a pipeline makes beside its output (what an assistant heard, its answer in writing), shown on stderr while
// the run goes on.
#pragma once

#include <string>
#include <thread>
#include <vector>

#include "morph/engine.h"

namespace morph::command {

/// Reads text outputs of a run and prints finished texts as "name: text". Start it before the run starts; the
/// destructor waits until the outputs have ended, so destroy it after the run did.
class ByProducts {
 public:
  ByProducts(Run& run, const std::vector<std::string>& outputs);
  ~ByProducts();
  ByProducts(const ByProducts&) = delete;
  ByProducts& operator=(const ByProducts&) = delete;

 private:
  std::vector<std::thread> readers_;
};

}  // namespace morph::command
