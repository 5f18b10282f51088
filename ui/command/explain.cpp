// `morph explain`: the compiled graph as text, JSON, DOT or a picture, without running anything.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <span>

#include "console.h"
#include "morph/child_process.h"
#include "morph/message.h"
#include "morph/output_file.h"
#include "morph/request.h"
#include "options.h"
#include "subcommands.h"

namespace morph::command {
namespace {

struct ExplainOptions {
  CommonOptions common;
  std::vector<std::string> arguments;
  std::string out;
  std::string to;
  std::string pipeline;
};

void write(const std::string& text, const std::string& file) {
  OutputFile out(file);
  out.write(std::as_bytes(std::span(text)));
  out.finish();
}

/// Runs Graphviz' `dot -T<kind>` on `graph` into `file`.
void draw(const std::string& graph, const std::string& kind, const std::string& file) {
  OutputFile out(file);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> source(std::tmpfile(), std::fclose);
  if (!source || std::fputs(graph.c_str(), source.get()) < 0 || std::fflush(source.get()) != 0)
    throw Error(ErrorCode::resource, file, "the graph cannot be kept for `dot` in a temporary file; is the disk full?");
  std::rewind(source.get());
  int code = 127;
  try {
    code = ChildProcess({"dot", "-T" + kind}, {fileno(source.get()), out.descriptor(), -1}).wait();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::config) throw;
    throw Error(ErrorCode::config, file,
                "drawing needs Graphviz' `dot`, which is not installed: apt-get install graphviz");
  }
  if (code != 0) throw Error(ErrorCode::config, file, "`dot` could not draw the graph");
  out.finish();
}

int explain(const ExplainOptions& options) {
  const std::unique_ptr<Engine> engine = make_engine(options.common);
  CompileOptions compile = compile_options(options.common);
  Pipeline pipeline;
  std::vector<std::string> arguments = options.arguments;
  // The first argument may name a pipeline; the rest, or all, are inputs as in the plain form.
  bool named = !options.pipeline.empty();
  if (named) pipeline = engine->pipelines().find(options.pipeline);
  std::error_code too_long_for_a_path;
  if (!named && arguments.empty())
    throw Error(ErrorCode::config, "explain", "expected a pipeline or an input, found neither");
  if (!named &&
      (!std::filesystem::exists(arguments.front(), too_long_for_a_path) || arguments.front().ends_with(".json"))) {
    try {
      pipeline = engine->pipelines().find(arguments.front());
      named = true;
      arguments.erase(arguments.begin());
    } catch (const Error&) {
      if (arguments.front().ends_with(".json")) throw;
    }
  }
  std::vector<RequestInput> inputs;
  for (const std::string& argument : arguments) inputs.push_back(classify_input(*engine, argument, ""));
  if (!named) pipeline = choose_pipeline(*engine, inputs, output_modality(*engine, options.to, ""));
  if (!inputs.empty()) compile.bindings = bind_ports(*engine, pipeline, inputs, options.to, options.common.json);
  assign_params(*engine, pipeline, options.common.params, compile);
  if (!compile.bindings.empty()) compile.unread = unbound_outputs(pipeline, compile.bindings);
  const CompileResult compiled = engine->compile(pipeline, compile);
  const int code = report_diagnostics(compiled.diagnostics, options.common.json);
  if (!compiled.plan) return code;
  if (options.out.empty()) {
    fmt::print("{}\n",
               options.common.json ? explain_json(*compiled.plan) : shown_text(explain_text(*compiled.plan), true));
    return 0;
  }
  const std::string suffix = std::filesystem::path(options.out).extension().string();
  if (suffix == ".svg" || suffix == ".png" || suffix == ".pdf")
    draw(explain_dot(*compiled.plan), suffix.substr(1), options.out);
  else if (suffix == ".dot")
    write(explain_dot(*compiled.plan), options.out);
  else if (suffix == ".json")
    write(explain_json(*compiled.plan), options.out);
  else if (suffix == ".txt")
    write(explain_text(*compiled.plan), options.out);
  else
    throw Error(ErrorCode::config, options.out, "expected .svg, .png, .pdf, .dot, .json or .txt");
  return 0;
}

}  // namespace

void add_explain(CLI::App& app, CommandResult& result) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* command =
      app.add_subcommand("explain", "Show the compiled graph: stages, formats, converters, devices, memory");
  command->add_option("PIPELINE or INPUT", options->arguments,
                      "Pipeline name or file, and/or inputs as in the plain form");
  command->add_option("--pipeline", options->pipeline, "The pipeline, by name or file; all arguments are inputs then");
  command->add_option("-o,--output", options->out, "Write it to a file: .svg .png .pdf .dot .json .txt");
  command->add_option("--to", options->to, "The output that would be made, e.g. answer.wav (plain form)");
  add_common_options(*command, options->common);
  command->callback([&result, options] { result.exit_code = explain(*options); });
}

}  // namespace morph::command
