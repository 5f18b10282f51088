// `morph bench speech`: how long a speaker waits for the answer, measured from outside. A recorded question is fed at
// the pace it was spoken into `morph - -o -`, silence follows, and the first audible sample on stdout is timed from the
// end of speech (the last loud sample). Beside it: the same components as their own libraries, one after the other
// (silero-vad, faster-whisper, xllamacpp, piper-tts), on the same recording with the same end-pointing silence.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <mutex>
#include <thread>

#include "bench/bench.h"
#include "bench/child.h"
#include "morph/error.h"

namespace morph::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRate = 16000, kLoud = 400, kAudible = 300;
constexpr double kChunk = 0.032, kSilenceAfter = 6, kMemoryTarget = 1024;
/// Silence that ends a turn, for both sides: the default of audio/voice_activity.
constexpr double kEndSilence = 0.6;
/// Both sides are told the same, or they would not answer at the same length.
constexpr const char* kSystem = "You are a helpful AI assistant. Answer in one short sentence.";

struct Question {
  std::string name;
  std::vector<std::int16_t> samples;
  double speech_end_s = 0;
};

Question load_question(const std::string& name) {
  const std::filesystem::path path = bench_asset("samples/" + name);
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::size_t data = bytes.find("data");
  std::uint32_t rate = 0;
  if (bytes.size() > 44) std::memcpy(&rate, bytes.data() + 24, 4);
  if (!bytes.starts_with("RIFF") || data == std::string::npos || rate != kRate)
    throw Error(ErrorCode::format, path.string(), "expected a WAV of 16 bits, mono, 16 kHz");
  Question question{name, {}, 0};
  question.samples.resize((bytes.size() - data - 8) / 2);
  std::memcpy(question.samples.data(), bytes.data() + data + 8, question.samples.size() * 2);
  for (std::size_t i = 0; i < question.samples.size(); ++i)
    if (std::abs(question.samples[i]) > kLoud) question.speech_end_s = static_cast<double>(i) / kRate;
  return question;
}

struct Answer {
  double wait_s = -1;  ///< from the end of speech to the first audible sample; < 0: none came
  double peak_mib = 0;
};

/// One conversation with a fresh process, which has `warm_up_s` to load before anyone speaks.
Answer ask(const Question& question, const BenchOptions& options, double warm_up_s) {
  Child child({morph_binary(),
               "-",
               "-o",
               "-",
               "--stdin-type",
               "audio",
               "--stdout-type",
               "audio",
               "-q",
               "--threads",
               std::to_string(options.threads),
               "-p",
               "in.audio.encoding=s16le",
               "-p",
               fmt::format("in.audio.rate={}", kRate),
               "-p",
               "in.audio.channels=1",
               "-p",
               fmt::format("system={}", kSystem),
               "-p",
               fmt::format("listen.end_s={}", kEndSilence)});
  std::this_thread::sleep_for(std::chrono::duration<double>(warm_up_s));
  const Clock::time_point begun = Clock::now();
  std::atomic<double> heard_at{-1};
  std::thread listener([&] {
    std::vector<char> bytes;
    std::size_t skip = 44;  // the header of the WAV stream
    for (std::vector<char> more = child.read_some(4096); !more.empty(); more = child.read_some(4096)) {
      const Clock::time_point now = Clock::now();
      bytes.insert(bytes.end(), more.begin(), more.end());
      for (; skip + 2 <= bytes.size() && heard_at < 0; skip += 2) {
        std::int16_t sample = 0;
        std::memcpy(&sample, bytes.data() + skip, 2);
        if (std::abs(sample) > kAudible) heard_at = std::chrono::duration<double>(now - begun).count();
      }
    }
  });
  std::vector<std::int16_t> paced = question.samples;
  paced.resize(paced.size() + static_cast<std::size_t>(kSilenceAfter * kRate));
  constexpr auto kChunkSamples = static_cast<std::size_t>(kChunk * kRate);
  Answer answer;
  for (std::size_t i = 0; i < paced.size(); i += kChunkSamples) {
    const std::size_t n = std::min(kChunkSamples, paced.size() - i);
    std::this_thread::sleep_until(begun + std::chrono::duration_cast<Clock::duration>(
                                              std::chrono::duration<double>(static_cast<double>(i + n) / kRate)));
    if (!child.write({reinterpret_cast<const char*>(paced.data() + i), n * 2})) break;
    const double at = heard_at;
    if (at >= 0 && std::chrono::duration<double>(Clock::now() - begun).count() > at + 1) break;
  }
  answer.peak_mib = static_cast<double>(child.peak_resident()) / (1 << 20);
  child.close_input();
  listener.join();
  if (const int code = child.wait(); code != 0)
    throw Error(ErrorCode::internal, "bench/speech",
                fmt::format("`morph - -o -` ended with code {}: {}", code, child.complaints()));
  if (heard_at >= 0) answer.wait_s = heard_at - question.speech_end_s;
  return answer;
}

/// Both sides wait for the silence that ends a turn; what a program can do about the wait is the rest.
std::string beyond_end_pointing(const BenchRow& row) {
  const double own = row.ours.best() - kEndSilence, other = row.theirs.best() - kEndSilence;
  return fmt::format("beyond the {} s of end-pointing {:.2f} / {:.2f} s", kEndSilence, own, other);
}

}  // namespace

BenchRows bench_speech(const BenchOptions& options) {
  const std::string python = peers_python(options.json);
  BenchRows rows;
  double peak_mib = 0;
  for (const char* name : {"question.wav", "long_question.wav"}) {
    const Question question = load_question(name);
    BenchRow whole{"speech", question.name + ", wait", "s", {}, "chain, each part whole", {}, 2.0, ""};
    BenchRow first = whole;
    std::string heard;
    first.peer = "chain, voice by sentence";
    {
      Peer chain(python, "chain.py",
                 {bench_asset(std::string("samples/") + name).string(), bench_model("silero-vad").string(),
                  bench_model("whisper-base-ct2").string(), bench_model("smollm2-135m-instruct").string(),
                  bench_model("piper-en-us-joe").string(), std::to_string(options.threads), std::to_string(kEndSilence),
                  std::to_string(question.speech_end_s), kSystem});
      chain.go();
      for (int i = 0; i < options.repeats(3); ++i) {
        const Answer answer = ask(question, options, 3);
        if (answer.wait_s < 0)
          throw Error(ErrorCode::internal, "bench/speech", question.name + ": no answer was heard within 6 s");
        whole.ours.add(answer.wait_s);
        peak_mib = std::max(peak_mib, answer.peak_mib);
        const nlohmann::json theirs = chain.go();
        whole.theirs.add(theirs.at("wait_whole").get<double>());
        first.theirs.add(theirs.at("wait_first_sentence").get<double>());
        heard = theirs.at("heard").get<std::string>();
      }
      first.ours = whole.ours;
      whole.note = beyond_end_pointing(whole) + "; heard there: " + heard;
      first.note = fmt::format("{}; peer's peak {:.0f} MiB", beyond_end_pointing(first),
                               static_cast<double>(chain.peak_resident()) / (1 << 20));
    }
    rows.push_back(whole);
    rows.push_back(first);
  }
  BenchRow memory{"speech", "peak memory, highest of all", "MiB", {}, "", {}, kMemoryTarget, ""};
  memory.ours.add(peak_mib);
  rows.push_back(memory);
  return rows;
}

}  // namespace morph::bench
