// The `morph` command: makes OUT from INPUTs, and everything around it. Each subcommand is a file of its own.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <sstream>
#include <string_view>

#include "console.h"
#include "interrupts.h"
#include "morph/memory.h"
#include "morph/message.h"
#include "options.h"
#include "subcommands.h"

namespace {

constexpr const char* kDescription =
    "Metamorph: any of text, image, video, audio and 3-D into any other.\n"
    "\n"
    "  morph question.wav -o answer.wav        answer a spoken question aloud\n"
    "  morph talk.mp3                          print what is said (-o talk.srt for subtitles)\n"
    "  morph \"Good morning.\" -o hello.wav      speak\n"
    "  morph \"What is a glacier?\"              chat\n"
    "  morph scan.png \"what does it say?\"      read an image\n"
    "  morph explain talk.mp3                  show the compiled pipeline, its devices and memory\n"
    "  morph book.txt -o book.flac --checkpoint book.run    and `morph resume book.run` after a crash\n"
    "\n"
    "An INPUT is a file (its content says what it is), - for standard input, or a prompt in quotes.\n"
    "What is made is said by the suffix of OUT; without -o, text goes to the terminal.";

/// For errors that come before or outside the options of a subcommand.
bool wants_json(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--") return false;
    if (argument == "--json") return true;
  }
  return false;
}

/// Declares every subcommand, runs the one asked for and prints what it threw. Returns the exit code.
int run(int argc, char** argv) {
  CLI::App app(kDescription, "morph");
  app.set_version_flag("--version", "morph " + morph::command::version());
  app.get_formatter()->column_width(34);
  morph::command::CommandResult result;
  morph::command::add_make(app, result);
  morph::command::add_run(app, result);
  morph::command::add_explain(app, result);
  morph::command::add_verify(app, result);
  morph::command::add_bench(app, result);
  morph::command::add_models(app, result);
  morph::command::add_pull(app, result);
  morph::command::add_replay(app, result);
  morph::command::add_resume(app, result);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    const int code = app.exit(error, out, err);
    fmt::print("{}", out.str());
    morph::write_message(morph::shown_text(err.str(), true));
    return code == 0 ? 0 : morph::exit_code(morph::ErrorCode::config);
  } catch (const morph::Error& error) {
    return morph::command::report_error(error, wants_json(argc, argv));
  } catch (const std::filesystem::filesystem_error& error) {
    return morph::command::report_error(
        morph::Error(morph::ErrorCode::resource, error.path1().string(), error.code().message()),
        wants_json(argc, argv));
  } catch (const std::exception& error) {
    if (std::ferror(stdout) != 0) return 0;  // main() says so
    if (morph::is_short_of_memory(error))
      return morph::command::report_error(
          morph::Error(morph::ErrorCode::resource, "morph",
                       std::string("expected more memory than this process may have (") + error.what() +
                           "); close other programs, or raise the limit (ulimit -v, the container's)"),
          wants_json(argc, argv));
    return morph::command::report_error(
        morph::Error(morph::ErrorCode::internal, "morph", std::string(error.what()) + " (please report this)"),
        wants_json(argc, argv));
  }
  if (result.exit_code < 0) {
    fmt::print("{}", app.help());
    return argc > 1 ? morph::exit_code(morph::ErrorCode::config) : 0;
  }
  return result.exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  morph::command::hold_standard_descriptors();
  morph::command::block_interrupts();
  int code = run(argc, argv);
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    const std::string why = errno == 0 ? "" : std::string(" (") + std::strerror(errno) + ")";
    code = morph::command::report_error(
        morph::Error(morph::ErrorCode::resource, "standard output",
                     "not all of the result could be written" + why + "; is the disk full, or did the reader go?"),
        false);
  }
  morph::flush_messages(std::chrono::seconds(2));
  return code;
}
