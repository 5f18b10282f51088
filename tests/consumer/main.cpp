// Two chats at once on one loaded language model, by a program that knows Metamorph's public headers and its library
// and nothing else. Arguments: a model (name or file) and the questions.
#include <morph/engine.h>
#include <morph/place.h>
#include <morph/text.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <vector>

namespace {

std::shared_ptr<const morph::Plan> plan_chat(morph::Engine& engine, const std::string& model) {
  morph::CompileOptions options;
  options.params = {{"model", morph::Value(model)}, {"max_tokens", morph::Value(std::int64_t{24})}};
  const morph::CompileResult compiled = engine.compile(engine.pipelines().find("text-to-text/chat"), options);
  for (const morph::Diagnostic& found : compiled.diagnostics)
    std::fprintf(stderr, "%s: %s\n", found.where.c_str(), found.message.c_str());
  return compiled.plan;
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
  if (argc < 3) return std::fprintf(stderr, "usage: consumer MODEL QUESTION...\n"), 2;
  morph::EngineOptions options;
  options.pipeline_folders = {morph::share_folder() / "pipelines"};
  morph::Engine engine(options, morph::register_everything);
  const std::shared_ptr<const morph::Plan> plan = plan_chat(engine, argv[1]);
  if (!plan) return 3;
  engine.load(plan, nullptr);
  std::vector<std::unique_ptr<morph::Run>> runs;
  for (int i = 2; i < argc; ++i) {
    runs.push_back(engine.create_run(plan, {}));
    runs.back()->start();
    auto question = std::make_shared<morph::Text>();
    question->utf8 = argv[i];
    runs.back()->feed("text", morph::Packet::data<morph::Text>(std::move(question)));
    runs.back()->end_input("text");
  }
  for (const auto& run : runs) std::printf("%s\n", read_answer(*run).c_str());
  return 0;
} catch (const morph::Error& error) {
  std::fprintf(stderr, "error (%s): %s\n", std::string(to_string(error.code())).c_str(), error.what());
  return morph::exit_code(error.code());
}
