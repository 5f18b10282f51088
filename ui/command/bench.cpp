// `morph bench`: hands over to the benchmark, a program of its own (tests/bench) that is not part of the product.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "morph/error.h"
#include "subcommands.h"

namespace morph::command {
namespace {

/// Replaces this process; returns only by an exception.
void hand_over(const std::vector<std::string>& arguments) {
  const std::string program = (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "morph-bench").string();
  if (!std::filesystem::exists(program))
    throw Error(ErrorCode::config, program,
                "the benchmark is not here: it is built in a checkout and not installed; run `./morph bench` there");
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  sigset_t none;  // block_interrupts() is inherited over exec
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, nullptr);
  execv(program.c_str(), argv.data());
  throw Error(ErrorCode::config, program, fmt::format("cannot be started: {}", std::strerror(errno)));
}

}  // namespace

void add_bench(CLI::App& app, CommandResult&) {
  CLI::App* command = app.add_subcommand("bench", "Measure against the peers, in the same run, as ratios");
  command->prefix_command();
  command->set_help_flag();
  command->callback([command] { hand_over(command->remaining()); });
}

}  // namespace morph::command
