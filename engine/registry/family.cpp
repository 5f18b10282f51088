// The families that are known, found by their job and by what lies in a checkpoint's folder.
#include "morph/family.h"

#include <fmt/format.h>

#include <utility>

#include "morph/error.h"

namespace morph {

void Families::add(FamilySpec family) {
  if (family.name.empty()) throw Error(ErrorCode::internal, "registry", "a family needs a name, found an empty one");
  std::string name = family.name;
  const auto [place, added] = all_.try_emplace(std::move(name), std::move(family));
  if (!added)
    throw Error(ErrorCode::internal, "registry",
                fmt::format("family \"{}\" is registered twice; rename or remove one", place->first));
}

const FamilySpec& Families::find(std::string_view job, const std::filesystem::path& checkpoint) const {
  std::string known, other;
  for (const auto& [name, family] : all_) {
    const bool fits = family.recognise && family.recognise(checkpoint);
    if (family.job == job) {
      if (fits) return family;
      known += (known.empty() ? "" : "; ") + name + (family.files.empty() ? "" : ": " + family.files);
    } else if (fits) {
      other = fmt::format("; it is a checkpoint of {}, which is no {}", name, job);
    }
  }
  throw Error(ErrorCode::weights, checkpoint.string(),
              fmt::format("expected a checkpoint of a {}, found the files of none ({}){}", job,
                          known.empty() ? "this build knows none" : known, other));
}

void Families::wrong_job(std::string_view job) {
  throw Error(ErrorCode::internal, "registry",
              fmt::format("expected what the family makes to be a {}, found another kind", job));
}

}  // namespace morph
