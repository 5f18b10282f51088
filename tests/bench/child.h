// A child process with pipes, for measuring programs from outside: the `morph` program and the peers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "morph/child_process.h"

namespace morph::bench {

/// Started by its constructor (signals unblocked; stderr into a file that messages quote). Killed and reaped by its
/// destructor. One thread may write while another reads.
class Child {
 public:
  /// `arguments[0]` is looked up in PATH. Throws Error{config} when it cannot be started.
  explicit Child(const std::vector<std::string>& arguments);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// False when the child does not read any more.
  bool write(std::span<const char> bytes);
  void close_input();
  /// Bytes of its stdout; empty at the end.
  std::vector<char> read_some(std::size_t most = 65536);
  /// One line without its end. Throws Error{config} with the end of its stderr when it ended instead.
  std::string read_line();
  /// Everything until the end of stdout, then wait().
  std::string read_all();
  /// Exit code; 128 + signal when it was killed.
  int wait();
  /// Highest resident bytes so far (VmHWM); what was last seen when it has ended.
  std::uint64_t peak_resident();
  /// The last lines of its stderr.
  std::string complaints() const;

 private:
  std::string name_;
  std::string stderr_file_;
  std::optional<ChildProcess> process_;
  int in_ = -1, out_ = -1;
  std::uint64_t peak_ = 0;
  std::string pending_;
};

/// The program under test: $MORPH_BINARY, else `morph` beside this one.
std::string morph_binary();

/// Runs to the end with nothing on stdin; throws Error when the exit code is not 0.
std::string run_child(const std::vector<std::string>& arguments);

/// Python of the peers' environment in <cache>/peers; makes it (network, once) when it is not there or peers.txt has
/// changed. Throws Error{resource} that says what to do.
std::string peers_python(bool quiet);

/// A program of bench/peers/ that answers each line "go" with one line of JSON. Its first line says that it is ready.
class Peer {
 public:
  Peer(const std::string& python, const std::string& script, std::vector<std::string> arguments);
  /// One measurement. Throws Error with the program's own complaint.
  nlohmann::json go();
  std::uint64_t peak_resident() { return child_.peak_resident(); }

 private:
  Child child_;
};

}  // namespace morph::bench
