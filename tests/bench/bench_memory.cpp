// `morph bench memory`: is the memory plan right? For pipelines and inputs of random sizes (a fixed seed), the total
// that `morph explain` predicts beside the highest resident memory of a process that runs the same command.
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "bench/bench.h"
#include "bench/child.h"
#include "morph/error.h"
#include "morph/model.h"
#include "morph/scratch_folder.h"

namespace morph::bench {
namespace {

constexpr double kTargetPercent = 15;

struct Case {
  std::string name;
  std::vector<std::string> inputs;
  std::string output;  ///< suffix of the file made; empty: text on stdout
  std::vector<std::string> params;
};

/// The first `seconds` of a WAV with a plain 44-byte header, over and over as need be.
void cut_wav(const std::filesystem::path& from, const std::filesystem::path& to, double seconds) {
  std::ifstream in(from, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::size_t data = bytes.find("data");
  if (!bytes.starts_with("RIFF") || data == std::string::npos)
    throw Error(ErrorCode::format, from.string(), "expected a WAV file");
  std::uint32_t bytes_per_s = 0;
  std::memcpy(&bytes_per_s, bytes.data() + 28, 4);
  const std::string sound = bytes.substr(data + 8);
  const auto wanted = static_cast<std::uint32_t>(seconds * bytes_per_s) / 4 * 4;
  std::string cut;
  while (cut.size() < wanted) cut += sound;
  cut.resize(wanted);
  const std::uint32_t riff = static_cast<std::uint32_t>(data) + wanted;
  std::memcpy(bytes.data() + 4, &riff, 4);
  std::memcpy(bytes.data() + data + 4, &wanted, 4);
  std::ofstream(to, std::ios::binary) << bytes.substr(0, data + 8) << cut;
}

std::string some_words(std::mt19937& random, int n) {
  static constexpr const char* kWords[] = {"river", "the", "stone", "quietly", "carries", "a", "lamp", "and", "seven"};
  std::string text = "Tell me about";
  for (int i = 0; i < n; ++i)
    text += std::string(" ") + kWords[random() % std::size(kWords)] + (i % 12 == 11 ? "." : "");
  return text + ".";
}

/// A grey picture with lines of strokes where words would be, over the first `share` of its height.
void draw_page(const std::filesystem::path& to, int width, int height, double share, std::mt19937& random) {
  constexpr int kLine = 36, kLetter = 14, kMargin = 20;
  std::string pixels(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), '\xfa');
  const auto stroke = [&](int left, int top, int right, int bottom) {
    for (int y = top; y < std::min(bottom, height); ++y)
      for (int x = left; x < std::min(right, width); ++x)
        pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)] = '\x18';
  };
  for (int y = kMargin; y + kLine < static_cast<int>(height * share); y += kLine)
    for (int x = kMargin; x + kLetter < width - kMargin; x += kLetter) {
      const unsigned letter = random();
      if (letter % 6 == 0) continue;  // between words
      stroke(x, y, x + 3, y + 22);
      if ((letter & 8) != 0) stroke(x, y, x + 9, y + 3);
      if ((letter & 16) != 0) stroke(x, y + 9, x + 9, y + 12);
      if ((letter & 32) != 0) stroke(x + 7, y, x + 10, y + 22);
      if ((letter & 64) != 0) stroke(x, y + 19, x + 9, y + 22);
    }
  std::ofstream(to, std::ios::binary) << fmt::format("P5\n{} {}\n255\n", width, height) << pixels;
}

std::vector<Case> make_cases(const std::filesystem::path& folder) {
  std::mt19937 random(20);  // NOLINT: the same cases every time
  const auto between = [&random](int low, int high) {
    return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
  };
  std::vector<Case> cases;
  const std::filesystem::path clip = bench_model("speech-samples") / "two_cities.wav";
  for (const char* model : {"whisper-base", "whisper-tiny.en"})
    for (int i = 0; i < 3; ++i) {
      const int seconds = i == 0 ? between(2, 10) : between(3, 150);
      const std::filesystem::path wav = folder / fmt::format("{}-{}.wav", model, i);
      cut_wav(clip, wav, seconds);
      cases.push_back({fmt::format("{}, {} s", model, seconds),
                       {wav.string()},
                       "",
                       {std::string("model=") + model, "language=en"}});
    }
  for (int i = 0; i < 2; ++i) {
    const int words = between(3, 400), tokens = between(16, 128);
    cases.push_back({fmt::format("chat, {} words, {} tokens", words, tokens),
                     {some_words(random, words)},
                     "",
                     {fmt::format("max_tokens={}", tokens)}});
  }
  // A model that no constant of the plan was fitted on.
  std::string gemma =
      run_child({"/usr/bin/python3", bench_asset("../tests/ui/gemma.py").string(), cache_folder().string()});
  gemma.erase(gemma.find_last_not_of(" \n") + 1);
  for (const int words : {between(3, 40), between(100, 400)})
    cases.push_back({fmt::format("chat, Gemma 3 270M, {} words", words),
                     {some_words(random, words)},
                     "",
                     {"model=" + gemma, "max_tokens=32"}});
  for (const char* voice : {"piper-en-us-joe", "kokoro"})
    for (int i = 0; i < 2; ++i) {
      const int words = between(3, i == 0 ? 12 : 80);
      cases.push_back({fmt::format("{}, {} words", voice, words),
                       {some_words(random, words)},
                       ".wav",
                       {std::string("voice=") + voice}});
    }
  for (const char* model : {"pp-ocr-v4", "pp-ocr-v6-tiny"})
    for (const int longest : {600, 1200, 3000}) {
      const int width = between(longest / 2, longest), height = between(longest / 2, longest);
      const double share = between(1, 4) / 4.0;
      const std::filesystem::path page = folder / fmt::format("{}-{}.pgm", model, longest);
      draw_page(page, width, height, share, random);
      cases.push_back({fmt::format("{}, {} x {}, {:.0f} % printed", model, width, height, 100 * share),
                       {page.string()},
                       "",
                       {std::string("model=") + model}});
    }
  cases.push_back({"read a scan", {bench_asset("samples/scan.png").string()}, "", {}});
  cases.push_back({"assistant", {bench_asset("samples/question.wav").string()}, ".wav", {}});
  return cases;
}

double predicted_mib(const Case& one, int threads) {
  std::vector<std::string> command = {morph_binary(), "explain", "--json", "--threads", std::to_string(threads)};
  if (!one.output.empty()) command.insert(command.end(), {"--to", "made" + one.output});
  for (const std::string& param : one.params) command.insert(command.end(), {"-p", param});
  command.insert(command.end(), one.inputs.begin(), one.inputs.end());
  const nlohmann::json plan = nlohmann::json::parse(run_child(command));
  return plan.at("memory").at("total").get<double>() / (1 << 20);
}

double measured_mib(const Case& one, const std::filesystem::path& folder, int threads) {
  std::vector<std::string> command = {morph_binary()};
  command.insert(command.end(), one.inputs.begin(), one.inputs.end());
  command.insert(command.end(), {"-q", "--threads", std::to_string(threads)});
  if (!one.output.empty()) command.insert(command.end(), {"-o", (folder / ("made" + one.output)).string()});
  for (const std::string& param : one.params) command.insert(command.end(), {"-p", param});
  Child child(command);
  child.close_input();
  // The high-water mark only rises, so that looking often is enough; it is gone when the process is.
  std::atomic<bool> over{false};
  std::uint64_t peak = 0;
  std::thread watcher([&] {
    while (!over) {
      peak = child.peak_resident();
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
  });
  child.read_all();
  over = true;
  watcher.join();
  if (const int code = child.wait(); code != 0)
    throw Error(ErrorCode::internal, "bench/memory",
                fmt::format("{}: exit code {}: {}", one.name, code, child.complaints()));
  return static_cast<double>(peak) / (1 << 20);
}

}  // namespace

BenchRows bench_memory(const BenchOptions& options) {
  const ScratchFolder scratch;
  BenchRows rows;
  for (const Case& one : make_cases(scratch.path())) {
    bench_note(options, "memory: " + one.name);
    const double plan = predicted_mib(one, options.threads), real = measured_mib(one, scratch.path(), options.threads);
    BenchRow row{"memory", one.name, "% off", {}, "", {}, kTargetPercent, ""};
    row.ours.add(100 * std::abs(plan - real) / real);
    row.note =
        fmt::format("planned {:.0f} MiB, measured {:.0f} MiB ({:+.1f}%)", plan, real, 100 * (plan - real) / real);
    rows.push_back(row);
  }
  return rows;
}

}  // namespace morph::bench
