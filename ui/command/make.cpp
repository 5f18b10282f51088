// The plain form: `morph [INPUT...] [-o OUT]`, and `morph run PIPELINE`.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "console.h"
#include "execution.h"
#include "interrupts.h"
#include "morph/output_file.h"
#include "morph/request.h"
#include "morph/scratch_folder.h"
#include "options.h"
#include "subcommands.h"

namespace morph::command {
namespace {

struct MakeOptions {
  CommonOptions common;
  std::vector<std::string> inputs;
  std::string out;
  std::string pipeline;
  std::string stdin_type, stdout_type;
  bool list = false;
};

/// Standard output takes a whole file of any kind: it is made in a passing folder and copied when it is whole.
void copy_to_stdout(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::vector<char> piece(1 << 16);
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0)
    if (const int error =
            write_all(STDOUT_FILENO, std::as_bytes(std::span(piece).first(static_cast<std::size_t>(in.gcount()))));
        error != 0)
      throw Error(ErrorCode::resource, "standard output", std::string("cannot be written: ") + std::strerror(error));
}

int make(const MakeOptions& options) {
  std::optional<InterruptWatch> watch(std::in_place);  // looking at standard input waits for it
  const std::unique_ptr<Engine> engine = make_engine(options.common);
  std::vector<RequestInput> inputs;
  for (const std::string& argument : options.inputs)
    inputs.push_back(classify_input(*engine, argument, options.stdin_type));
  const Pipeline pipeline =
      options.pipeline.empty()
          ? choose_pipeline(*engine, inputs, output_modality(*engine, options.out, options.stdout_type))
          : engine->pipelines().find(options.pipeline);
  CompileOptions compile = compile_options(options.common);
  std::optional<ScratchFolder> scratch;
  std::string out = options.out;
  if (options.stdout_type.starts_with('.') && (out.empty() || out == "-"))
    out = (scratch.emplace().path() / ("made" + options.stdout_type)).string();
  compile.bindings = bind_ports(*engine, pipeline, inputs, out, options.common.json);
  assign_params(*engine, pipeline, options.common.params, compile);
  const bool has_clock = std::any_of(pipeline.params.begin(), pipeline.params.end(),
                                     [](const PipelineParam& param) { return param.name == "clock"; });
  if (has_clock && is_live(inputs)) compile.params.try_emplace("clock", std::string("live"));
  watch.reset();  // execute() has its own
  const int code = execute(*engine, pipeline, std::move(compile), options.common).exit_code;
  if (code == 0 && scratch) copy_to_stdout(out);
  return code;
}

std::string port_list(const std::vector<PipelinePort>& ports) {
  std::string text;
  for (const PipelinePort& port : ports)
    text += (text.empty() ? "" : " + ") + (port.optional ? "[" + port.type + "]" : port.type);
  return text;
}

int list_pipelines(const CommonOptions& options) {
  const std::unique_ptr<Engine> engine = make_engine(options);
  nlohmann::json list = nlohmann::json::array();
  for (const Pipeline& pipeline : engine->pipelines().all()) {
    if (options.json)
      list.push_back(nlohmann::json::parse(to_json(pipeline)));
    else
      fmt::print("{:<34}{:<24}{}\n", pipeline.name, port_list(pipeline.inputs) + " -> " + port_list(pipeline.outputs),
                 pipeline.help);
  }
  if (options.json) fmt::print("{}\n", list.dump(2));
  return 0;
}

int describe_pipeline(const CommonOptions& options, const std::string& name) {
  const std::unique_ptr<Engine> engine = make_engine(options);
  const Pipeline pipeline = engine->pipelines().find(name);
  fmt::print("{}\n  {}\n", pipeline.name, pipeline.help);
  for (const PipelinePort& port : pipeline.inputs)
    fmt::print("  input   {:<18}{:<8}{}{}\n", port.name, port.type, port.help, port.optional ? " (optional)" : "");
  for (const PipelinePort& port : pipeline.outputs)
    fmt::print("  output  {:<18}{:<8}{}\n", port.name, port.type, port.help);
  for (const ParamSpec& param : pipeline_params(pipeline, engine->registry(), engine->pipelines()))
    fmt::print("  -p      {:<18}{}{}\n", param.name, param.help, default_note(param));
  return 0;
}

}  // namespace

void add_make(CLI::App& app, CommandResult& result) {
  auto options = std::make_shared<MakeOptions>();
  app.add_option("INPUT", options->inputs, "Files, - for standard input, or prompts in quotes");
  app.add_option("-o,--output", options->out, "File to make; its suffix says what. - is standard output");
  app.add_option("--pipeline", options->pipeline, "Pipeline to use instead of the default one for these inputs");
  app.add_option("--stdin-type", options->stdin_type, "What - holds: audio, text, image (default: look)");
  app.add_option(
      "--stdout-type", options->stdout_type,
      "What to make for -o -: text, audio as it comes, or a whole file by its suffix, such as .flac (default text)");
  add_common_options(app, options->common);
  add_checkpoint_options(app, options->common);
  app.callback([&app, &result, options] {
    if (!app.get_subcommands().empty() || options->inputs.empty()) return;
    result.exit_code = make(*options);
  });
}

void add_run(CLI::App& app, CommandResult& result) {
  auto options = std::make_shared<MakeOptions>();
  CLI::App* run = app.add_subcommand("run", "Run a pipeline by name or file; --list shows them");
  run->add_option("PIPELINE", options->pipeline, "Name (speech-to-speech/assistant) or a pipeline file");
  run->add_option("INPUT", options->inputs, "Files, - for standard input, or prompts in quotes");
  run->add_option("-o,--output", options->out, "File to make; - is standard output");
  run->add_option("--stdin-type", options->stdin_type, "What - holds: audio, text, image (default: look)");
  run->add_option("--stdout-type", options->stdout_type, "A whole file for -o -, by its suffix, such as .flac");
  run->add_flag("--list", options->list, "List the pipelines");
  add_common_options(*run, options->common);
  add_checkpoint_options(*run, options->common);
  run->callback([&result, options] {
    if (options->list || options->pipeline.empty())
      result.exit_code = list_pipelines(options->common);
    else if (options->inputs.empty())
      result.exit_code = describe_pipeline(options->common, options->pipeline);
    else
      result.exit_code = make(*options);
  });
}

}  // namespace morph::command
