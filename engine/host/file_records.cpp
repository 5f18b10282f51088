// See file_records.h.
#include "host/file_records.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "morph/error.h"
#include "morph/provenance.h"

namespace morph {
namespace {

/// A weight file and, for the first part of a split GGUF (NAME-00001-of-00003.gguf), the parts that lie beside it.
std::vector<std::filesystem::path> with_parts(const std::filesystem::path& file) {
  constexpr std::string_view kFirst = "-00001-of-";
  const std::string name = file.filename().string();
  const std::size_t at = name.rfind(kFirst);
  std::vector<std::filesystem::path> files{file};
  if (at == std::string::npos || !name.ends_with(".gguf")) return files;
  const std::string total = name.substr(at + kFirst.size());  // 00003.gguf
  for (int part = 2; part <= 99999; ++part) {
    const auto other = file.parent_path() / fmt::format("{}-{:05}-of-{}", name.substr(0, at), part, total);
    if (!std::filesystem::is_regular_file(other)) break;
    files.push_back(other);
  }
  return files;
}

bool holds_weights(const std::filesystem::path& file) {
  constexpr std::array<std::string_view, 6> kSuffixes = {".safetensors", ".gguf", ".onnx", ".npy", ".npz", ".bin"};
  const std::string suffix = file.extension().string();
  return std::find(kSuffixes.begin(), kSuffixes.end(), suffix) != kSuffixes.end();
}

std::string short_hash(const std::string& sha256) { return sha256.substr(0, 12); }

}  // namespace

bool names_model(const std::string& param) { return param == "model" || param == "voice" || param.ends_with("_model"); }

std::vector<WeightFile> weight_files(const Plan& plan, const FindModel& find_model) {
  std::map<std::filesystem::path, WeightFile> files;
  const auto add = [&](const std::string& model, const std::filesystem::path& file, const std::string& inner) {
    files.try_emplace(file, WeightFile{model + "/" + inner, file});
  };
  for (const PlanNode& node : plan.nodes) {
    for (const auto& [name, value] : node.params.values()) {
      const std::string* text = std::get_if<std::string>(&value);
      if (text == nullptr || text->empty() || !names_model(name)) continue;
      const std::filesystem::path found = find_model(*text);
      const std::string model = std::filesystem::path(*text).filename().string();
      if (std::filesystem::is_regular_file(found)) {
        for (const std::filesystem::path& file : with_parts(found)) add(model, file, file.filename().string());
        continue;
      }
      for (const auto& entry : std::filesystem::recursive_directory_iterator(found))
        if (entry.is_regular_file() && holds_weights(entry.path()))
          add(model, entry.path(), entry.path().lexically_relative(found).string());
    }
  }
  std::vector<WeightFile> list;
  for (auto& [file, weights] : files) list.push_back(std::move(weights));
  return list;
}

std::vector<FileRecord> weight_records(const Plan& plan, const FindModel& find_model) {
  std::vector<FileRecord> records;
  for (const WeightFile& weights : weight_files(plan, find_model))
    records.push_back({weights.name, weights.path, file_sha256(weights.path, true)});
  return records;
}

std::vector<FileRecord> input_records(const Plan& plan) {
  std::vector<FileRecord> records;
  for (const PlanNode& node : plan.nodes) {
    if (node.spec == nullptr || node.spec->source_of.empty() || !node.params.has("path")) continue;
    const std::filesystem::path file = node.params.get_string("path");
    std::error_code failed;
    if (!std::filesystem::is_regular_file(file, failed)) continue;
    records.push_back({node.name, file, file_sha256(file, false)});
  }
  return records;
}

void check_records(const std::vector<FileRecord>& before, const std::vector<FileRecord>& now, ErrorCode code) {
  for (const FileRecord& old : before) {
    const auto found =
        std::find_if(now.begin(), now.end(), [&](const FileRecord& record) { return record.name == old.name; });
    if (found == now.end())
      throw Error(code, old.name,
                  fmt::format("the saved run uses this file ({}, sha256 {}...), and it is not there any more",
                              old.path.string(), short_hash(old.sha256)));
    if (found->sha256 != old.sha256)
      throw Error(code, old.name,
                  fmt::format("the saved run was begun with another file than {}: expected sha256 {}..., found {}...; "
                              "resume it with the one it was begun with",
                              found->path.string(), short_hash(old.sha256), short_hash(found->sha256)));
  }
}

}  // namespace morph
