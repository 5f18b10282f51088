// Family: an architecture of models. Its entry in the registry says which job it does, recognises a checkpoint, says
// what is known of it, estimates, loads and verifies it. The engine knows no job: a job is an interface that a modality
// declares (Voice, Embedder, ...), what create() returns implements it, and the job's one generic stage asks for it by
// the job's name. A new family is a new entry; no stage is touched.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "morph/model.h"

namespace morph {

struct Estimate;

/// Result of comparing one golden output (see `morph verify`).
struct VerifyRow {
  std::string name;       ///< tensor name in golden/outputs.safetensors
  std::string component;  ///< part of the model: "encoder", "decoder", ...
  std::string status;     ///< "pass", "fail" or "skip"
  double nmse = 0.0;
  double max_abs = 0.0;
  std::string note{};           ///< why skipped, or why this tolerance
  std::string configuration{};  ///< what ran: "cpu, exact: F32"; empty where there is but one
  double tolerance = 0.0;       ///< largest nmse that passes; 0: equality
};

/// What is known of a checkpoint from its small files. A job derives its own from this.
class ModelInfo {
 public:
  virtual ~ModelInfo() = default;
};

/// How a checkpoint is to be used: what an estimate and a load depend on.
struct FamilyUse {
  std::string device = "cpu";
  int n_threads = 1;
  bool exact = false;              ///< every weight in 32 bits, as references compute
  std::uint64_t source_bytes = 0;  ///< of what the model will be given, where that is known; for estimates
};

/// A model family. Functions may be called from any thread and throw Error{weights} that names the file and key.
struct FamilySpec {
  std::string name;   ///< "whisper"
  std::string job{};  ///< "voice", "recogniser", "embedder", ...: what create() returns implements that interface
  std::string help{};
  std::string files{};  ///< what a folder of it holds, for the error that no family knows a folder
  /// True when this folder (or file) is a checkpoint of the family. Reads only small files (config.json); never throws.
  std::function<bool(const std::filesystem::path&)> recognise{};
  /// Reads small files only.
  std::function<std::shared_ptr<const ModelInfo>(const std::filesystem::path&)> describe{};
  /// Costs of a loaded model; reads no weights.
  std::function<Estimate(const std::filesystem::path&, const FamilyUse&)> estimate{};
  /// Loads it, or takes what `models` holds. `progress` may be empty.
  std::function<std::shared_ptr<const Model>(const std::filesystem::path&, const FamilyUse&, ModelStore& models,
                                             const std::function<void(double)>& progress)>
      create{};
  /// Runs the family's production stages on golden/inputs.safetensors and compares every output tensor.
  std::function<std::vector<VerifyRow>(const std::filesystem::path& folder, const std::string& device)> verify{};
};

/// All families of a registry: Registry::part<Families>(). Stages hold on to it.
class Families {
 public:
  void add(FamilySpec family);  ///< Error{internal} for a name that is taken, or empty
  const std::map<std::string, FamilySpec, std::less<>>& all() const { return all_; }

  /// The family that does `job` and recognises the checkpoint. Throws Error{weights} that lists what is understood.
  const FamilySpec& find(std::string_view job, const std::filesystem::path& checkpoint) const;

  /// What is known of a checkpoint, as the job's own type. Throws what find() and describe() throw.
  template <class Info>
  std::shared_ptr<const Info> describe(std::string_view job, const std::filesystem::path& checkpoint) const {
    return checked(std::dynamic_pointer_cast<const Info>(find(job, checkpoint).describe(checkpoint)), job);
  }
  /// A loaded model, as the job's interface. Throws what find() and create() throw.
  template <class Job>
  std::shared_ptr<const Job> create(std::string_view job, const std::filesystem::path& checkpoint, const FamilyUse& use,
                                    ModelStore& models, const std::function<void(double)>& progress = {}) const {
    return checked(
        std::dynamic_pointer_cast<const Job>(find(job, checkpoint).create(checkpoint, use, models, progress)), job);
  }

 private:
  template <class T>
  static std::shared_ptr<const T> checked(std::shared_ptr<const T> made, std::string_view job) {
    if (made == nullptr) wrong_job(job);
    return made;
  }
  [[noreturn]] static void wrong_job(std::string_view job);  ///< Error{internal}

  std::map<std::string, FamilySpec, std::less<>> all_;
};

}  // namespace morph
