// libllama keeps its log target per process, so this does too: the function-local once_flag is the only state.
#include "llama/runtime.h"

#include <llama.h>

#include <mutex>
#include <string_view>

#include "morph/log.h"
#include "tensor/backend.h"

namespace morph::backbone {
namespace {

void forward_log(ggml_log_level level, const char* text, void* /*user*/) {
  std::string_view line(text);
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  if (line.empty() || line == ".") return;
  LogLevel ours = LogLevel::trace;
  if (level == GGML_LOG_LEVEL_ERROR) ours = LogLevel::info;  // what fails is thrown as an Error with its own words
  if (level == GGML_LOG_LEVEL_WARN) ours = LogLevel::debug;  // mostly advice about settings that we chose on purpose
  if (level == GGML_LOG_LEVEL_INFO) ours = LogLevel::debug;
  log(ours, "backbone/llama", line);
}

}  // namespace

void ensure_runtime() {
  tensor::load_modules();
  static std::once_flag once;
  std::call_once(once, [] {
    llama_log_set(forward_log, nullptr);
    llama_backend_init();
  });
}

}  // namespace morph::backbone
