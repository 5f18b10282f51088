// Names and exit codes of error groups: the two tables that the command line, JSON output and Python share.
#include "morph/error.h"

namespace morph {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::config:
      return "config";
    case ErrorCode::pipeline:
      return "pipeline";
    case ErrorCode::format:
      return "format";
    case ErrorCode::weights:
      return "weights";
    case ErrorCode::device:
      return "device";
    case ErrorCode::resource:
      return "resource";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::internal:
      return "internal";
  }
  return "internal";
}

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::config:
      return 2;
    case ErrorCode::pipeline:
      return 3;
    case ErrorCode::format:
      return 4;
    case ErrorCode::weights:
      return 5;
    case ErrorCode::device:
      return 6;
    case ErrorCode::resource:
      return 7;
    case ErrorCode::cancelled:
      return 130;
    case ErrorCode::internal:
      return 70;
  }
  return 70;
}

}  // namespace morph
