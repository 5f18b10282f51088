// `morph bench busy`: hearing, chatting and speaking on a machine that is busy with something else, which is the normal
// one: beside one and beside two endless loops, each a process. The worst of the runs is compared with the peer's worst
// in the same minutes, because what a busy machine does to a program is seen in its worst runs (threads that spin for
// each other take many times as long there); a target of 0.77 is "within 1.3 times of the peer's worst".
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <memory>

#include "bench/bench.h"
#include "bench/child.h"
#include "bench/warm.h"
#include "morph/error.h"
#include "morph/scratch_folder.h"
#include "options.h"

namespace morph::bench {
namespace {

constexpr double kTarget = 1 / 1.3;
constexpr const char* kQuestion = "Name the planets of the solar system and say one thing about each.";
constexpr const char* kSentence =
    "The clock in the hall had stopped at noon, and nobody in the house could say when it had last been wound.";

/// Both sides of one comparison: each returns the seconds of one run.
struct Pair {
  const char* what;
  const char* peer;
  std::function<double()> ours, theirs;
};

Binding read_binding(const char* port, const char* stage, const std::filesystem::path& path) {
  Binding binding{port, stage, {}};
  binding.params.set("path", path.string());
  return binding;
}

double worst(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }
double best(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }

BenchRow compare(const Pair& pair, int n_loops, int repeats) {
  std::vector<std::unique_ptr<Child>> loops;
  for (int i = 0; i < n_loops; ++i)
    loops.push_back(std::make_unique<Child>(std::vector<std::string>{"/bin/sh", "-c", "while :; do :; done"}));
  std::vector<double> ours, theirs;
  for (int i = 0; i < repeats; ++i) {
    ours.push_back(pair.ours());
    theirs.push_back(pair.theirs());
  }
  BenchRow row{
      "busy",    fmt::format("{}, {} loop{}, worst of {}", pair.what, n_loops, n_loops == 1 ? "" : "s", repeats),
      "s",       {},
      pair.peer, {},
      kTarget,   fmt::format("best {:.2f} / {:.2f}", best(ours), best(theirs))};
  row.ours.add(worst(ours));
  row.theirs.add(worst(theirs));
  return row;
}

}  // namespace

BenchRows bench_busy(const BenchOptions& options) {
  const std::string python = peers_python(options.json), threads = std::to_string(options.threads);
  const std::string clip = (bench_model("speech-samples") / "two_cities.wav").string();
  const ScratchFolder scratch;
  const std::filesystem::path question = scratch.path() / "question.txt", sentence = scratch.path() / "sentence.txt";
  std::ofstream(question) << kQuestion << '\n';
  std::ofstream(sentence) << kSentence << '\n';
  command::CommonOptions common;
  common.threads = options.threads;
  const std::unique_ptr<Engine> engine = command::make_engine(common);
  WarmPipeline hear(*engine, "speech-to-text/transcribe", read_binding("audio", "audio/read", clip),
                    {{"model", Value(std::string("whisper-base"))}, {"language", Value(std::string("en"))}});
  WarmPipeline chat(*engine, "text-to-text/chat", read_binding("text", "text/read", question),
                    {{"max_tokens", Value(std::int64_t{100})}, {"temperature", Value(0.0)}});
  WarmPipeline speak(*engine, "text-to-audio/speak", read_binding("text", "text/read", sentence), {},
                     (scratch.path() / "said.wav").string());
  Peer heard(python, "hearing.py",
             {"faster-whisper", bench_model("whisper-base-ct2").string(), "int8", "1", clip, threads});
  Peer chatted(python, "chatting.py", {bench_model("smollm2-135m-instruct").string(), kQuestion, "100", threads});
  Peer spoken(python, "speaking.py", {bench_model("piper-en-us-joe").string(), sentence.string(), threads});
  const auto seconds = [](Peer& peer) { return peer.go().at("seconds").get<double>(); };
  const Pair pairs[] = {
      {"hearing 44 s", "faster-whisper beam 1 int8", [&] { return hear.run().seconds; },
       [&] { return seconds(heard); }},
      {"chat, 100 tokens", "llama.cpp (xllamacpp)", [&] { return chat.run().seconds; },
       [&] { return seconds(chatted); }},
      {"speaking a sentence", "piper-tts", [&] { return speak.run().seconds; }, [&] { return seconds(spoken); }}};
  BenchRows rows;
  for (const Pair& pair : pairs) {
    pair.ours();
    pair.theirs();
    for (const int n_loops : {1, 2}) {
      bench_note(options, fmt::format("{} beside {} endless loop(s)", pair.what, n_loops));
      rows.push_back(compare(pair, n_loops, options.repeats(10)));
    }
  }
  return rows;
}

}  // namespace morph::bench
