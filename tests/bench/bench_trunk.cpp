// `morph bench trunk`: tokens per second of our Trunk beside llama-bench of the same substrate, on the same file with
// the same threads. As llama-bench does: a prompt of 512 tokens in one decode with the last row's logits; 128 tokens
// one by one from an empty cache; a warm-up of each first.
#include <fmt/format.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/bench.h"
#include "bench/child.h"
#include "morph/error.h"
#include "morph/trunk.h"

namespace morph::bench {
namespace {

constexpr int kPrompt = 512, kGenerated = 128;

/// llama-bench beside the libllama that this process has loaded: the same build.
std::string find_llama_bench() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t slash = line.find('/');
    if (slash == std::string::npos || line.find("/libllama.so") == std::string::npos) continue;
    const std::filesystem::path library = line.substr(slash);
    std::filesystem::path program = library.parent_path().parent_path() / "bin" / "llama-bench";
    if (std::filesystem::exists(program)) return program.string();
    throw Error(ErrorCode::config, program.string(), "expected llama-bench there; run setup/substrate.sh again");
  }
  throw Error(ErrorCode::internal, "bench/trunk", "libllama is not loaded as a shared library");
}

std::filesystem::path gguf_in(const std::filesystem::path& path) {
  if (std::filesystem::is_regular_file(path)) return path;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.path().extension() == ".gguf") return entry.path();
  throw Error(ErrorCode::weights, path.string(), "expected a .gguf file in it, found none");
}

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

std::vector<Token> some_tokens(const TrunkInfo& info, int n) {
  std::vector<Token> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back(static_cast<Token>(1000 + 7919L * i % (info.n_vocab - 2000)));
  return tokens;
}

double prompt_speed(TrunkSession& session, const std::vector<Token>& tokens) {
  const std::unique_ptr<Sequence> sequence = session.open();
  std::vector<DecodeItem> items(1);
  items[0].sequence = sequence.get();
  items[0].tokens = tokens;
  const auto begun = std::chrono::steady_clock::now();
  session.decode(items);
  return static_cast<double>(tokens.size()) / seconds_since(begun);
}

double generation_speed(TrunkSession& session, const std::vector<Token>& tokens) {
  const std::unique_ptr<Sequence> sequence = session.open();
  const auto begun = std::chrono::steady_clock::now();
  for (const Token token : tokens) {
    std::vector<DecodeItem> items(1);
    items[0].sequence = sequence.get();
    items[0].tokens = {token};
    session.decode(items);
  }
  return static_cast<double>(tokens.size()) / seconds_since(begun);
}

}  // namespace

BenchRows bench_trunk(const BenchOptions& options) {
  const std::filesystem::path file = gguf_in(bench_model("smollm2-135m-instruct"));
  const std::shared_ptr<const Trunk> trunk = load_trunk({file, "cpu", {}});
  const std::string llama_bench = find_llama_bench();
  SessionOptions session_options;
  session_options.n_ctx = 1024;
  session_options.max_sequences = 1;
  session_options.n_threads = options.threads;
  const std::shared_ptr<TrunkSession> session = trunk->open_session(session_options);
  const std::vector<Token> prompt = some_tokens(trunk->info(), kPrompt),
                           one_by_one(prompt.begin(), prompt.begin() + kGenerated);
  prompt_speed(*session, prompt);
  BenchRow rows[] = {
      {"trunk", fmt::format("prompt pp{}", kPrompt), "tok/s", {{}, true}, "llama-bench", {{}, true}, 1.0, ""},
      {"trunk", fmt::format("generation tg{}", kGenerated), "tok/s", {{}, true}, "llama-bench", {{}, true}, 1.0, ""}};
  for (int i = 0; i < options.repeats(5); ++i) {
    rows[0].ours.add(prompt_speed(*session, prompt));
    rows[1].ours.add(generation_speed(*session, one_by_one));
    const nlohmann::json theirs = nlohmann::json::parse(
        run_child({llama_bench, "-m", file.string(), "-t", std::to_string(options.threads), "-p",
                   std::to_string(kPrompt), "-n", std::to_string(kGenerated), "-r", "1", "-ngl", "0", "-o", "json"}));
    for (const nlohmann::json& test : theirs)
      rows[test.at("n_prompt").get<int>() > 0 ? 0 : 1].theirs.add(test.at("avg_ts").get<double>());
  }
  return {rows[0], rows[1]};
}

}  // namespace morph::bench
