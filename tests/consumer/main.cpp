// Two chats at once on one loaded language model, each with parameters of its own, by a program that knows Metamorph's
// public headers and its library and nothing else. Arguments: a model (name or file) and two questions.
#include <morph/engine.h>
#include <morph/place.h>
#include <morph/text.h>

#include <chrono>
#include <cstdio>
#include <memory>

namespace {

std::unique_ptr<morph::Run> ask(morph::Engine& engine, const std::shared_ptr<const morph::Plan>& plan,
                                const std::string& question, std::int64_t max_tokens) {
  morph::RunOptions options;
  options.params["max_tokens"] = max_tokens;  // of this run: the model, its session and its batches are shared
  std::unique_ptr<morph::Run> run = engine.create_run(plan, options);
  run->start();
  auto text = std::make_shared<morph::Text>();
  text->utf8 = question;
  run->feed("text", morph::Packet::data<morph::Text>(std::move(text)));
  run->end_input("text");
  return run;
}

std::string read_answer(morph::Run& run) {
  std::string answer;
  for (;;) {
    const std::optional<morph::Packet> packet = run.read("text", std::chrono::minutes(2));
    if (!packet) throw morph::Error(morph::ErrorCode::resource, "consumer", "no answer within two minutes");
    if (packet->ends_stream()) break;
    if (packet->payload) answer += packet->as<morph::Text>().utf8;
  }
  run.wait();  // says why, when it failed
  return answer;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) return std::fprintf(stderr, "usage: consumer MODEL QUESTION QUESTION\n"), 2;
  morph::EngineOptions options;
  options.pipeline_folders = {morph::share_folder() / "pipelines"};
  morph::Engine engine(options, morph::register_everything);
  morph::CompileOptions compile;
  compile.params["model"] = std::string(argv[1]);
  const morph::CompileResult compiled = engine.compile(engine.pipelines().find("text-to-text/chat"), compile);
  for (const morph::Diagnostic& found : compiled.diagnostics)
    std::fprintf(stderr, "%s: %s\n", found.where.c_str(), found.message.c_str());
  if (!compiled.plan) return 3;
  engine.load(compiled.plan, nullptr);
  const auto brief = ask(engine, compiled.plan, argv[2], 12), longer = ask(engine, compiled.plan, argv[3], 24);
  std::printf("%s\n", read_answer(*brief).c_str());
  std::printf("%s\n", read_answer(*longer).c_str());
  return 0;
} catch (const morph::Error& error) {
  std::fprintf(stderr, "error (%s): %s\n", std::string(to_string(error.code())).c_str(), error.what());
  return morph::exit_code(error.code());
}
