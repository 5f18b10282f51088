// Pipelines in folders, by name. A name is the document's own; by custom it is also its path without ".json".
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "base/nearest.h"
#include "graph/endpoint.h"
#include "morph/log.h"
#include "morph/pipeline.h"

namespace morph {
namespace {

/// Documents below `root`, sorted by path; without schema.json and presets/. Does not follow links to folders.
std::vector<std::filesystem::path> documents(const std::filesystem::path& root) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator at(root, error), end; !error && at != end; at.increment(error)) {
    const std::filesystem::path& path = at->path();
    if (at->is_directory(error)) {
      if (path.filename() == "presets") at.disable_recursion_pending();
    } else if (path.extension() == ".json" && path.filename() != "schema.json") {
      files.push_back(path);
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

Pipeline PipelineLibrary::find_name(const std::string& name) const {
  if (valid_path_name(name)) {
    for (const std::filesystem::path& folder : folders_) {
      const std::filesystem::path file = folder / (name + ".json");
      std::error_code error;
      if (!std::filesystem::is_regular_file(file, error)) continue;
      Pipeline pipeline = load_pipeline(file);
      if (pipeline.name == name) return pipeline;
    }
  }
  std::vector<std::string> names;
  for (Pipeline& pipeline : all()) {
    if (pipeline.name == name) return std::move(pipeline);
    names.push_back(pipeline.name);
  }
  std::string looked;
  for (const std::filesystem::path& folder : folders_) looked += (looked.empty() ? "" : ", ") + folder.string();
  throw Error(ErrorCode::pipeline, name,
              fmt::format("there is no pipeline of this name in {}{}", looked.empty() ? "any folder" : looked,
                          suggest(name, names)));
}

Pipeline PipelineLibrary::find(const std::string& name_or_path) const {
  std::error_code error;
  const std::filesystem::path path(name_or_path);
  if (path.extension() == ".json" || std::filesystem::is_regular_file(path, error)) return load_pipeline(path);
  return find_name(name_or_path);
}

std::vector<Pipeline> PipelineLibrary::all() const {
  std::map<std::string, Pipeline> found;
  for (const std::filesystem::path& folder : folders_) {
    for (const std::filesystem::path& file : documents(folder)) {
      try {
        Pipeline pipeline = load_pipeline(file);
        std::string name = pipeline.name;
        found.try_emplace(std::move(name), std::move(pipeline));
      } catch (const Error& damaged) {  // one bad file must not hide the others
        log(LogLevel::error, "graph/library", damaged.what());
      }
    }
  }
  std::vector<Pipeline> pipelines;
  for (auto& [name, pipeline] : found) pipelines.push_back(std::move(pipeline));
  return pipelines;
}

}  // namespace morph
