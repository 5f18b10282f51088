// The process that renders a model's chat template for us (programs/render_template.cpp says why): started when first
// needed, kept for the next request, started anew after it died.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <string>
#include <vector>

namespace morph::backbone {

/// Thread-safe: one request after the other.
class TemplateProcess {
 public:
  /// `init` is sent to every new process first. Starts one and does not wait for it.
  explicit TemplateProcess(std::vector<std::string> init);
  ~TemplateProcess();
  TemplateProcess(const TemplateProcess&) = delete;
  TemplateProcess& operator=(const TemplateProcess&) = delete;

  struct Reply {
    bool ok = false;                   ///< else the template refused, or went beyond its limits
    bool parsed = true;                ///< false: the answer to `init` was an error
    std::vector<std::string> strings;  ///< what came after "ok", or the reason
  };
  /// The reply to `init` alone when `request` is empty. Throws Error{resource} when no process can be started.
  Reply ask(const std::vector<std::string>& request);

 private:
  void start();
  void stop();
  Reply exchange(const std::string& bytes);  ///< sends `bytes` when there are any, and waits for one list
  std::string why_it_ended();

  std::mutex mutex_;
  const std::vector<std::string> init_;
  int socket_ = -1;
  pid_t process_ = -1;
  bool greeted_ = false;  ///< the reply to init was read
  Reply greeting_;
};

}  // namespace morph::backbone
