// The subcommands of `morph`. Each adds itself to the CLI11 application; the chosen one's callback stores the exit
// code.
#pragma once

namespace CLI {
class App;
}

namespace morph::command {

/// Exit code of the subcommand that ran; -1 while none did.
struct CommandResult {
  int exit_code = -1;
};

void add_make(CLI::App& app, CommandResult& result);     ///< the plain form: INPUT... -o OUT
void add_run(CLI::App& app, CommandResult& result);      ///< run PIPELINE, --list
void add_explain(CLI::App& app, CommandResult& result);  ///< explain PIPELINE or INPUT... -o OUT
void add_verify(CLI::App& app, CommandResult& result);
void add_bench(CLI::App& app, CommandResult& result);  ///< bench [WHAT...]: measure against the peers
void add_models(CLI::App& app, CommandResult& result);
void add_pull(CLI::App& app, CommandResult& result);
void add_replay(CLI::App& app, CommandResult& result);
void add_resume(CLI::App& app, CommandResult& result);  ///< resume FILE: go on with a run that was saved

}  // namespace morph::command
