// Finds the family of a recogniser's folder.
#include "recognise/recogniser.h"

#include "morph/error.h"

namespace morph::audio {

const RecogniserFamily& RecogniserFamilies::find(const std::filesystem::path& folder) const {
  std::string known;
  for (const RecogniserFamily& family : all) {
    if (family.recognise(folder)) return family;
    known += (known.empty() ? "" : "; ") + std::string(family.name) + ": " + std::string(family.files);
  }
  throw Error(ErrorCode::weights, folder.string(),
              "expected a recogniser of speech, found the files of none (" +
                  (known.empty() ? "this build knows none" : known) + ")");
}

}  // namespace morph::audio
