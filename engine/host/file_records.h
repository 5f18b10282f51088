// The files that a run depends on, by content: the weights of its plan and what its sources read.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "morph/checkpoint.h"
#include "morph/pipeline.h"

namespace morph {

using FindModel = std::function<std::filesystem::path(const std::string& model)>;

/// Whether a parameter of this name names a model, by convention: "model", "voice" or "*_model".
bool names_model(const std::string& param);

struct WeightFile {
  std::string name;  ///< "whisper-base/model.safetensors"
  std::filesystem::path path;
};
/// The weight files of a plan, of every parameter that names a model, by path. Throws what `find_model` throws.
std::vector<WeightFile> weight_files(const Plan& plan, const FindModel& find_model);
/// The same with their sha256 (remembered, see file_sha256). Throws Error{resource} for one that cannot be read.
std::vector<FileRecord> weight_records(const Plan& plan, const FindModel& find_model);
/// The files that sources read. Standard input and literals are none.
std::vector<FileRecord> input_records(const Plan& plan);

/// Throws Error{code} naming the first of `before` that is gone from `now` or has other content.
void check_records(const std::vector<FileRecord>& before, const std::vector<FileRecord>& now, ErrorCode code);

}  // namespace morph
