// Warm runs of our pipelines. See warm.h.
#include "bench/warm.h"

#include <chrono>

#include "morph/text.h"

namespace morph::bench {

WarmPipeline::WarmPipeline(Engine& engine, const std::string& pipeline, Binding input,
                           std::map<std::string, Value> params, const std::string& output_file)
    : engine_(engine), reads_text_(output_file.empty()) {
  CompileOptions compile;
  compile.bindings.push_back(std::move(input));
  if (!reads_text_) {
    Binding output{"audio", "audio/write", {}};
    output.params.set("path", output_file);
    compile.bindings.push_back(std::move(output));
  }
  compile.params = std::move(params);
  const CompileResult compiled = engine.compile(engine.pipelines().find(pipeline), compile);
  if (!compiled.plan) {
    std::string all;
    for (const Diagnostic& diagnostic : compiled.diagnostics) all += diagnostic.message + "; ";
    throw Error(ErrorCode::pipeline, "bench/" + pipeline, "does not compile: " + all);
  }
  plan_ = compiled.plan;
  engine.load(plan_, nullptr);
}

WarmPipeline::Result WarmPipeline::run() {
  const std::unique_ptr<Run> run = engine_.create_run(plan_, RunOptions{});
  Result result;
  const auto begun = std::chrono::steady_clock::now();
  run->start();
  std::string previous;
  while (reads_text_) {
    const std::optional<Packet> packet = run->read("text", std::chrono::minutes(5));
    if (!packet) throw Error(ErrorCode::internal, "bench/" + plan_->name, "made no text within five minutes");
    if (packet->ends_stream()) break;
    if (packet->kind == PacketKind::revise) result.text = previous;
    if (packet->kind == PacketKind::flush) continue;
    previous = result.text;
    result.text += packet->as<Text>().utf8;
  }
  run->wait();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  return result;
}

}  // namespace morph::bench
