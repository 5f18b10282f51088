// Names of how a run ended, as printed and as found in JSON output.
#include "morph/run_result.h"

namespace morph {

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::none:
      return "none";
    case FinishReason::complete:
      return "complete";
    case FinishReason::length:
      return "length";
    case FinishReason::interrupted:
      return "interrupted";
    case FinishReason::unconfirmed:
      return "unconfirmed";
  }
  return "none";
}

std::string_view to_string(Loss loss) {
  switch (loss) {
    case Loss::cut:
      return "cut";
    case Loss::skipped:
      return "skipped";
    case Loss::unspoken:
      return "unspoken";
    case Loss::guessed:
      return "guessed";
  }
  return "cut";
}

}  // namespace morph
