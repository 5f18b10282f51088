// See output_checks.h.
#include "output_checks.h"

#include <filesystem>
#include <utility>

#include "morph/error.h"
#include "morph/output_file.h"

namespace morph::command {
namespace {

namespace fs = std::filesystem;

bool is_file_name(const std::string& path) { return !path.empty() && path != "-"; }

/// The same file by whatever names; of what is not there yet, the same place.
bool same_file(const std::string& a, const std::string& b) {
  std::error_code failed;
  if (fs::exists(a, failed) && fs::exists(b, failed))
    return fs::equivalent(a, b, failed) && (fs::is_regular_file(a, failed));
  return fs::weakly_canonical(fs::absolute(a), failed) == fs::weakly_canonical(fs::absolute(b), failed);
}

}  // namespace

void check_outputs(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                   const std::string& trace, bool force) {
  std::vector<std::pair<std::string, std::string>> written;  // file and what it is
  for (const std::string& output : outputs)
    if (is_file_name(output)) written.emplace_back(output, "an output");
  if (is_file_name(trace)) written.emplace_back(trace, "the trace");
  for (std::size_t i = 0; i < written.size(); ++i) {
    const auto& [file, what] = written[i];
    for (const std::string& input : inputs)
      if (is_file_name(input) && same_file(file, input) && !(force && what == "an output"))
        throw Error(ErrorCode::config, file,
                    what + " would be written over an input; give it another name, or say --force");
    for (std::size_t j = 0; j < i; ++j)
      if (same_file(file, written[j].first))
        throw Error(ErrorCode::config, file,
                    what + " would be written over " + written[j].second + "; give it another name");
    check_output_path(file);
  }
}

}  // namespace morph::command
