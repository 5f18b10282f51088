// Compiles documents against the stub registry, and looks for findings.
#pragma once

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/graph/stub_registry.h"
#include "graph/compile.h"

namespace morph::testing {

/// A folder that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "morph-graph-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
  }

 private:
  std::filesystem::path path_;
};

struct Compiler {
  TemporaryFolder folder;
  Registry registry;
  PipelineLibrary library{{folder.path()}};
  CompileOptions options;
  CompileEnvironment environment{registry, library, find_stub_model, {DeviceInfo{"cpu", "cpu", "CPU", 0, 0, "host"}}, 0,
                                 0,        4};

  Compiler() { register_all_stubs(registry); }
  CompileResult compile(const std::string& json) {
    return compile_pipeline(parse_pipeline(json, "test.json"), options, environment);
  }
  /// The plan; fails the test with all findings when there is none.
  std::shared_ptr<const Plan> plan(const std::string& json) {
    CompileResult result = compile(json);
    std::string text;
    for (const Diagnostic& each : result.diagnostics) text += each.where + ": " + each.message + "\n";
    INFO(text);
    REQUIRE(result.plan != nullptr);
    return result.plan;
  }
};

/// The findings as one text, "error where: message" each.
inline std::string text_of(const CompileResult& result) {
  std::string text;
  for (const Diagnostic& each : result.diagnostics)
    if (each.severity == Diagnostic::Severity::error)
      text += "[" + std::string(to_string(each.code)) + "] " + each.where + ": " + each.message + "\n";
  return text;
}

inline std::size_t count_errors(const CompileResult& result) {
  std::size_t n = 0;
  for (const Diagnostic& each : result.diagnostics) n += each.severity == Diagnostic::Severity::error ? 1 : 0;
  return n;
}

/// Names of the nodes in order, joined by spaces.
inline std::string names_of(const Plan& plan) {
  std::string text;
  for (const PlanNode& node : plan.nodes) text += (text.empty() ? "" : " ") + node.name;
  return text;
}

inline const PlanNode& node_of(const Plan& plan, const std::string& name) {
  for (const PlanNode& node : plan.nodes)
    if (node.name == name) return node;
  throw std::runtime_error("no node " + name);
}

/// sound -> hear -> words, with more stages, links and top-level members put in.
inline std::string document(const std::string& stages, const std::string& links, const std::string& more = "") {
  return R"({"morph": 1, "name": "sound-to-words/test", )" + more + R"("stages": {)" + stages + R"(}, "links": [)" +
         links + "]}";
}

inline const char* const kHear = R"({"morph": 1, "name": "sound-to-words/hear",
  "inputs": {"sound": {"type": "sound", "to": "hear.sound"}},
  "outputs": {"words": {"type": "words", "from": "hear.words"}},
  "params": {"model": {"to": "hear.model", "default": "base", "help": "which"}},
  "stages": {"hear": {"stage": "sound/hear"}}})";

}  // namespace morph::testing
