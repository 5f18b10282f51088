// Another program as a child process: no shell, no fork of a process that maps gigabytes, signals as a new program
// expects them. Programs that must not be linked (espeak-ng, a GPL program) or need not be (Graphviz) are run by it.
#pragma once

#include <string>
#include <vector>

namespace morph {

/// Started by its constructor; killed and reaped by its destructor unless it was waited for. Not thread-safe.
class ChildProcess {
 public:
  /// Descriptors that become the child's standard streams; -1: the same as this process'. They stay the caller's.
  struct Streams {
    int in = -1, out = -1, error = -1;
  };
  /// `arguments[0]` is looked up in PATH unless it holds a slash; `environment` ("NAME=value") is added to this
  /// process'. Throws Error{config} when there is no such program, Error{resource} when it cannot be started.
  ChildProcess(const std::vector<std::string>& arguments, Streams streams,
               const std::vector<std::string>& environment = {});
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  int id() const { return id_; }
  void kill();
  /// Exit code; 128 + signal when it was killed. Waits for the end; afterwards it returns at once.
  int wait();

 private:
  int id_ = -1;
  int code_ = -1;
  bool reaped_ = false;
};

}  // namespace morph
