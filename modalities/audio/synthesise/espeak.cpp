// Runs espeak-ng as a child process: a socket pair for its input (a dead child is an error code there, not
// a SIGPIPE), pipes for its output and complaints.
#include "synthesise/espeak.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>

#include "morph/child_process.h"
#include "morph/error.h"

namespace morph::audio {
namespace {

constexpr std::string_view kWhere = "audio/speak";
constexpr int kTimeoutMs = 20000;
constexpr std::size_t kBytesPerMs = 10;  // espeak-ng makes phonemes of far more than 10 kB a second

class FileHandle {
 public:
  explicit FileHandle(int handle = -1) : handle_(handle) {}
  ~FileHandle() { reset(); }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  int get() const { return handle_; }
  void set(int handle) {
    reset();
    handle_ = handle;
  }
  void reset() {
    if (handle_ >= 0) ::close(handle_);
    handle_ = -1;
  }

 private:
  int handle_;
};

Error failure(ErrorCode code, const std::string& message) { return Error(code, std::string(kWhere), message); }

struct Pipes {
  FileHandle to_child, child_in, from_child, child_out, errors, child_errors;
  Pipes() {
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) fail();
    to_child.set(pair[0]);
    child_in.set(pair[1]);
    open_pipe(from_child, child_out);
    open_pipe(errors, child_errors);
    for (const FileHandle* handle : {&to_child, &from_child, &errors}) ::fcntl(handle->get(), F_SETFL, O_NONBLOCK);
  }

 private:
  static void open_pipe(FileHandle& read_end, FileHandle& write_end) {
    std::array<int, 2> pair{};
    if (::pipe2(pair.data(), O_CLOEXEC) != 0) fail();
    read_end.set(pair[0]);
    write_end.set(pair[1]);
  }
  [[noreturn]] static void fail() {
    throw failure(ErrorCode::resource, std::string("cannot make a pipe for espeak-ng: ") + std::strerror(errno));
  }
};

/// Appends what there is; closes the handle at its end.
void drain(FileHandle& handle, std::string& out) {
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t n = ::read(handle.get(), buffer.data(), buffer.size());
    if (n > 0) {
      out.append(buffer.data(), static_cast<std::size_t>(n));
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return;
    } else {
      handle.reset();
      return;
    }
  }
}

/// Writes `text` and reads both outputs until the child closes them.
void exchange(Pipes& pipes, std::string_view text, std::string& out, std::string& complaints) {
  const auto limit = std::chrono::milliseconds(kTimeoutMs + text.size() / kBytesPerMs);
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (pipes.from_child.get() >= 0 || pipes.errors.get() >= 0) {
    // poll() ignores negative handles.
    std::array<pollfd, 3> waits{
        {{pipes.from_child.get(), POLLIN, 0}, {pipes.errors.get(), POLLIN, 0}, {pipes.to_child.get(), POLLOUT, 0}}};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0)
      throw failure(ErrorCode::resource,
                    "espeak-ng did not answer within " + std::to_string(limit.count() / 1000) + " s; it was stopped");
    if (::poll(waits.data(), waits.size(), static_cast<int>(left.count())) < 0 && errno != EINTR)
      throw failure(ErrorCode::resource, std::string("waiting for espeak-ng: ") + std::strerror(errno));
    if (waits[0].revents != 0) drain(pipes.from_child, out);
    if (waits[1].revents != 0) drain(pipes.errors, complaints);
    if (waits[2].revents != 0) {
      const ssize_t n = ::send(pipes.to_child.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
      const bool broken = n < 0 && errno != EAGAIN && errno != EINTR;
      if (text.empty() || broken) pipes.to_child.reset();
    }
  }
}

void check_voice(std::string_view voice) {
  const bool good = !voice.empty() && voice.front() != '-' &&
                    voice.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-") ==
                        std::string_view::npos;
  if (!good)
    throw failure(ErrorCode::config,
                  "expected an espeak voice name such as \"en-us\", found \"" + std::string(voice) + "\"");
}

std::vector<std::string> split_lines(const std::string& out) {
  std::vector<std::string> lines;
  std::string line;
  bool in_switch = false;  // "(en)": words of another language than the voice's
  for (char c : out) {
    if (c == '\n') {
      const auto first = line.find_first_not_of(' ');
      if (first != std::string::npos) lines.push_back(line.substr(first, line.find_last_not_of(' ') - first + 1));
      line.clear();
      in_switch = false;
    } else if (c == '(') {
      in_switch = true;
    } else if (c == ')') {
      in_switch = false;
    } else if (!in_switch) {
      line += c;
    }
  }
  return lines;
}

}  // namespace

std::vector<std::string> EspeakProgram::clauses(std::string_view text, std::string_view voice) const {
  check_voice(voice);
  std::string input(text);
  // "[[...]]" would be read as espeak's own phoneme notation.
  std::replace(input.begin(), input.end(), '[', ' ');
  std::replace(input.begin(), input.end(), ']', ' ');
  input += '\n';

  Pipes pipes;
  std::optional<ChildProcess> child;
  try {
    child.emplace(std::vector<std::string>{program_, "-q", "--ipa", "-b", "1", "-v", std::string(voice), "--stdin"},
                  ChildProcess::Streams{pipes.child_in.get(), pipes.child_out.get(), pipes.child_errors.get()});
  } catch (const Error& error) {
    if (error.code() == ErrorCode::config)
      throw failure(ErrorCode::config, "espeak-ng is not installed: apt-get install espeak-ng");
    throw failure(error.code(), error.what());
  }
  pipes.child_in.reset();
  pipes.child_out.reset();
  pipes.child_errors.reset();

  std::string out, complaints;
  exchange(pipes, input, out, complaints);
  if (const int code = child->wait(); code != 0) {
    if (code == 128 + SIGXFSZ)
      throw failure(ErrorCode::resource,
                    "the limit on the size of files (ulimit -f) leaves espeak-ng no room; raise it");
    while (!complaints.empty() && complaints.back() == '\n') complaints.pop_back();
    throw failure(ErrorCode::config, "espeak-ng could not make phonemes with voice \"" + std::string(voice) +
                                         "\": " + (complaints.empty() ? "no reason given" : complaints));
  }
  return split_lines(out);
}

}  // namespace morph::audio
