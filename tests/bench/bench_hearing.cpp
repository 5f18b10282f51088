// `morph bench hearing`: a recording of 44 s written down by us, by whisper.cpp and by faster-whisper with the same
// weights; every model is loaded before, and the word errors of each are counted with "wer-en/1".
#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "bench/bench.h"
#include "bench/child.h"
#include "bench/warm.h"
#include "bench/word_errors.h"
#include "morph/error.h"
#include "options.h"

namespace morph::bench {
namespace {

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string wer(const std::string& reference, const std::string& heard) {
  return fmt::format("{:.1f}%", 100 * word_errors(reference, heard).rate());
}

struct Contender {
  std::string name;
  std::vector<std::string> arguments;
};

/// Peers that read the same weights in their own form.
std::vector<Contender> contenders(const std::string& model) {
  const std::string folder = bench_model(model).string(), ct2 = bench_model(model + "-ct2").string();
  const std::string ggml = (cache_folder() / "peers" / ("ggml-" + model + ".bin")).string();
  return {{"whisper.cpp greedy f16", {"whisper.cpp", folder, ggml, "1"}},
          {"faster-whisper beam 1 int8", {"faster-whisper", ct2, "int8", "1"}},
          {"faster-whisper beam 1 float32", {"faster-whisper", ct2, "float32", "1"}},
          {"faster-whisper beam 5 int8", {"faster-whisper", ct2, "int8", "5"}},
          {"faster-whisper beam 5 float32", {"faster-whisper", ct2, "float32", "5"}}};
}

BenchRows bench_model_hearing(const BenchOptions& options, const std::string& model, const std::string& python) {
  const std::string clip = (bench_model("speech-samples") / "two_cities.wav").string();
  const std::string reference = read_text(bench_asset("cases/two_cities.txt"));
  command::CommonOptions common;
  common.threads = options.threads;
  const std::unique_ptr<Engine> engine = command::make_engine(common);
  Binding input{"audio", "audio/read", {}};
  input.params.set("path", clip);
  WarmPipeline ours(*engine, "speech-to-text/transcribe", input,
                    {{"model", Value(model)}, {"language", Value(std::string("en"))}});
  ours.run();
  BenchRows rows;
  std::vector<std::unique_ptr<Peer>> peers;
  for (const Contender& contender : contenders(model)) {
    bench_note(options, fmt::format("{}: loading {}", model, contender.name));
    std::vector<std::string> arguments = contender.arguments;
    arguments.insert(arguments.end(), {clip, std::to_string(options.threads)});
    peers.push_back(std::make_unique<Peer>(python, "hearing.py", arguments));
    peers.back()->go();
    rows.push_back({"hearing", model + ", 44 s", "s", {}, contender.name, {}, 1.0, ""});
  }
  Samples own;
  std::string own_wer;
  for (int i = 0; i < options.repeats(3); ++i) {
    const WarmPipeline::Result result = ours.run();
    own.add(result.seconds);
    own_wer = wer(reference, result.text);
    for (std::size_t p = 0; p < peers.size(); ++p) {
      const nlohmann::json theirs = peers[p]->go();
      rows[p].theirs.add(theirs.at("seconds").get<double>());
      rows[p].note = "WER " + own_wer + " / " + wer(reference, theirs.at("text").get<std::string>());
    }
  }
  for (BenchRow& row : rows) row.ours = own;
  return rows;
}

}  // namespace

BenchRows bench_hearing(const BenchOptions& options) {
  const std::string python = peers_python(options.json);
  BenchRows rows = bench_model_hearing(options, "whisper-base", python);
  for (BenchRow& row : bench_model_hearing(options, "whisper-tiny.en", python)) rows.push_back(std::move(row));
  return rows;
}

}  // namespace morph::bench
