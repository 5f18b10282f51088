// `morph bench voice`: is what our voice says understood? Twenty Harvard sentences spoken by our voice and written down
// by our recogniser, beside Piper's own library heard by faster-whisper with the same weights; word errors are counted
// with "wer-en/1" on both sides. A voice reads differently with every seed and one reading has few errors, so that
// the errors of several readings are added up; single readings are in the note.
#include <fmt/format.h>

#include <fstream>

#include "bench/bench.h"
#include "bench/child.h"
#include "bench/warm.h"
#include "bench/word_errors.h"
#include "morph/error.h"
#include "morph/scratch_folder.h"
#include "options.h"

namespace morph::bench {
namespace {

Binding read_binding(const char* port, const char* stage, const std::filesystem::path& path) {
  Binding binding{port, stage, {}};
  binding.params.set("path", path.string());
  return binding;
}

/// Sums of word errors over sentences, in percent of the words said.
class Score {
 public:
  void add(const std::string& said, const std::string& heard) {
    const WordErrors errors = word_errors(said, heard);
    n_words_ += errors.n_words;
    n_errors_ += errors.n_substituted + errors.n_deleted + errors.n_inserted;
  }
  void add(const Score& other) {
    n_words_ += other.n_words_;
    n_errors_ += other.n_errors_;
  }
  double percent() const {
    return n_words_ > 0 ? 100.0 * static_cast<double>(n_errors_) / static_cast<double>(n_words_) : 0;
  }

 private:
  std::size_t n_words_ = 0, n_errors_ = 0;
};

}  // namespace

BenchRows bench_voice(const BenchOptions& options) {
  const std::filesystem::path sentences_file = bench_asset("cases/harvard20.txt");
  std::vector<std::string> sentences;
  std::ifstream in(sentences_file);
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) sentences.push_back(line);
  Peer piper(peers_python(options.json), "voice.py",
             {bench_model("piper-en-us-joe").string(), bench_model("whisper-base-ct2").string(),
              sentences_file.string(), std::to_string(options.threads)});
  command::CommonOptions common;
  common.threads = options.threads;
  const std::unique_ptr<Engine> engine = command::make_engine(common);
  const ScratchFolder scratch;
  const std::filesystem::path text = scratch.path() / "said.txt", sound = scratch.path() / "said.wav";
  const auto voice = [&](int seed) {
    WarmPipeline pipeline(*engine, "text-to-audio/speak", read_binding("text", "text/read", text),
                          {{"seed", Value(std::int64_t{seed})}}, sound.string());
    std::ofstream(text) << sentences.front() << '\n';
    pipeline.run();
    return pipeline;
  };
  voice(0);
  WarmPipeline hear(*engine, "speech-to-text/transcribe", read_binding("audio", "audio/read", sound),
                    {{"model", Value(std::string("whisper-base"))}, {"language", Value(std::string("en"))}});
  BenchRow errors{"voice", "WER, 20 Harvard sentences", "%", {}, "piper-tts + faster-whisper", {}, 1.0, "by reading:"};
  errors.allowance = 1.0;
  BenchRow speed{"voice", "speaking them", "s", {}, "piper-tts", {}, 1.0, ""};
  Score own, other;
  for (int reading = 0; reading < options.repeats(5); ++reading) {
    Score own_now, other_now;
    WarmPipeline speak = voice(reading);
    double seconds = 0;
    for (const std::string& sentence : sentences) {
      std::ofstream(text) << sentence << '\n';
      seconds += speak.run().seconds;
      own_now.add(sentence, hear.run().text);
    }
    const nlohmann::json theirs = piper.go();
    for (std::size_t s = 0; s < sentences.size(); ++s) other_now.add(sentences[s], theirs.at("heard").at(s));
    own.add(own_now);
    other.add(other_now);
    errors.note += fmt::format(" {:.1f}/{:.1f}", own_now.percent(), other_now.percent());
    speed.ours.add(seconds);
    speed.theirs.add(theirs.at("speak_seconds").get<double>());
  }
  errors.ours.add(own.percent());
  errors.theirs.add(other.percent());
  return {errors, speed};
}

}  // namespace morph::bench
