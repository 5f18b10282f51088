// See morph/child_process.h.
#include "morph/child_process.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "morph/error.h"

extern char** environ;  // NOLINT: POSIX names it

namespace morph {
namespace {

/// Attributes and file actions of posix_spawn, freed on the way out.
class Setup {
 public:
  explicit Setup(const ChildProcess::Streams& streams) {
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_init(&actions_);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigfillset(&defaults);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &defaults);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    redirect(streams.in, STDIN_FILENO);
    redirect(streams.out, STDOUT_FILENO);
    redirect(streams.error, STDERR_FILENO);
  }
  ~Setup() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;
  int start(int& id, char* const* arguments, char* const* environment) const {
    return posix_spawnp(&id, arguments[0], &actions_, &attributes_, arguments, environment);
  }

 private:
  void redirect(int from, int to) {
    if (from >= 0) posix_spawn_file_actions_adddup2(&actions_, from, to);
  }
  posix_spawnattr_t attributes_{};
  posix_spawn_file_actions_t actions_{};
};

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> list;
  for (const std::string& word : words) list.push_back(const_cast<char*>(word.c_str()));
  return list;
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments, Streams streams,
                           const std::vector<std::string>& environment) {
  std::vector<char*> argv = pointers(arguments), env = pointers(environment);  // the first of a name counts
  argv.push_back(nullptr);
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) env.push_back(*each);
  env.push_back(nullptr);
  const int failed = Setup(streams).start(id_, argv.data(), env.data());
  if (failed == 0) return;
  const bool absent = failed == ENOENT || failed == EACCES;
  throw Error(absent ? ErrorCode::config : ErrorCode::resource, arguments.front(),
              absent ? std::string("is not installed (") + std::strerror(failed) + ")"
                     : std::string("cannot be started (") + std::strerror(failed) + ")");
}

ChildProcess::~ChildProcess() {
  kill();
  wait();
}

void ChildProcess::kill() {
  if (!reaped_) ::kill(id_, SIGKILL);
}

int ChildProcess::wait() {
  if (reaped_) return code_;
  int status = 0;
  while (waitpid(id_, &status, 0) < 0 && errno == EINTR) {
  }
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  reaped_ = true;
  return code_;
}

}  // namespace morph
