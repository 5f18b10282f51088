// Pipeline documents from anywhere: parsing, writing and compiling against the stub stages never crash; what is wrong
// is an Error or a diagnostic, and what is right writes and reads as the same document.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/graph/compile.h"
#include "tests/engine/graph/stub_registry.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace morph;
  static const Registry registry = [] {
    Registry filled;
    testing::register_all_stubs(filled);
    return filled;
  }();
  static const PipelineLibrary library({});
  try {
    const Pipeline pipeline = parse_pipeline(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
    const std::string json = to_json(pipeline);
    if (to_json(parse_pipeline(json, "again")) != json) std::abort();
    const CompileEnvironment environment{
        registry, library, testing::find_stub_model, {DeviceInfo{"cpu", "cpu", "CPU", 0, 0, "host"}}, 0, 1 << 30, 2};
    const CompileResult result = compile_pipeline(pipeline, {}, environment);
    if (result.plan != nullptr) {
      (void)explain_text(*result.plan);
      (void)explain_dot(*result.plan);
      (void)explain_json(*result.plan);
    } else if (result.diagnostics.empty()) {
      std::abort();
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) std::abort();
  }
  return 0;
}
