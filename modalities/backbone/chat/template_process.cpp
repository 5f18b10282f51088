// See template_process.h. posix_spawn (a fork would copy the page tables of the weights); one socket pair is the
// child's standard input, on which it answers too.
#include "chat/template_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/loaded_module.h"
#include "chat/template_wire.h"
#include "morph/error.h"

extern char** environ;  // NOLINT: POSIX names it

namespace morph::backbone {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);  // the process itself allows 5 s of processor time

class SpawnPlan {
 public:
  explicit SpawnPlan(int child_socket) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_adddup2(&actions_, child_socket, STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    // A group of its own, so that Ctrl-C is the host's to answer; signals as a new program expects them.
    sigset_t none, defaults;
    sigemptyset(&none);
    sigfillset(&defaults);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &defaults);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  int start(const std::string& program, pid_t& process) const {
    std::string name = program;
    std::array<char*, 2> arguments{name.data(), nullptr};
    return posix_spawn(&process, program.c_str(), &actions_, &attributes_, arguments.data(), environ);
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

}  // namespace

TemplateProcess::TemplateProcess(std::vector<std::string> init) : init_(std::move(init)) { start(); }

TemplateProcess::~TemplateProcess() { stop(); }

void TemplateProcess::start() {
  const std::string program = find_beside_modules("morph_render_template").string();
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0)
    throw Error(ErrorCode::resource, "chat template", fmt::format("no socket can be made ({})", std::strerror(errno)));
  socket_ = pair[0];
  const int failed = SpawnPlan(pair[1]).start(program, process_);
  ::close(pair[1]);
  if (failed != 0) {
    process_ = -1;
    stop();
    throw Error(ErrorCode::resource, program, fmt::format("cannot be started ({})", std::strerror(failed)));
  }
  greeted_ = false;
  send_all(socket_, packed(init_));  // where it fails, so does the wait for the answer
}

void TemplateProcess::stop() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
  process_ = -1;
}

TemplateProcess::Reply TemplateProcess::ask(const std::vector<std::string>& request) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (greeted_ && !greeting_.ok) return greeting_;  // the same template would say the same
  if (socket_ < 0) start();
  if (!greeted_) {
    greeting_ = exchange("");
    greeted_ = true;
    greeting_.parsed = greeting_.ok || socket_ < 0;  // a process that died says nothing of its grammar
    if (!greeting_.ok) return greeting_;
  }
  return request.empty() ? greeting_ : exchange(packed(request));
}

TemplateProcess::Reply TemplateProcess::exchange(const std::string& bytes) {
  Unpacker unpacker;
  std::array<char, 1 << 16> buffer{};
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  Unpacker::Status status = Unpacker::Status::more;
  std::string reason;
  if (!bytes.empty() && !send_all(socket_, bytes)) status = Unpacker::Status::broken;
  while (status == Unpacker::Status::more) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd asked{socket_, POLLIN, 0};
    const int ready = left > 0 ? ::poll(&asked, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      reason = fmt::format("it does not end within {} s", kPatience.count());
      break;
    }
    const ssize_t n = ::recv(socket_, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    status = unpacker.add(buffer.data(), static_cast<std::size_t>(n));
  }
  if (status == Unpacker::Status::whole) {
    std::vector<std::string> strings = unpacker.take();
    Reply reply;
    reply.ok = !strings.empty() && strings.front() == "ok";
    if (!strings.empty()) strings.erase(strings.begin());
    if (!reply.ok && strings.empty()) strings.emplace_back("no reason given");
    reply.strings = std::move(strings);
    return reply;
  }
  if (reason.empty()) reason = why_it_ended();
  stop();
  return {false, true, {reason}};
}

std::string TemplateProcess::why_it_ended() {
  int status = 0;
  ::shutdown(socket_, SHUT_RDWR);  // it ends now, if it has not yet
  pid_t ended = 0;
  while ((ended = ::waitpid(process_, &status, 0)) < 0 && errno == EINTR) {
  }
  process_ = -1;
  if (ended > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF)
    return "it repeats for longer than the 5 s that a template may take";
  if (ended > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) return "it recurses too deep";
  return "it takes more memory than a template may";
}

}  // namespace morph::backbone
