// Requests as every front end makes them (morph/request.h), over stages that need no weights: bytes and values in,
// bytes and values out, typed parameters, the record of how it was made.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <fstream>

#include "morph/audio.h"
#include "morph/provenance.h"
#include "morph/request.h"
#include "morph/scratch_folder.h"

using namespace morph;
using Catch::Contains;

namespace {

/// One pipeline: audio at another rate.
class Fixture {
 public:
  Fixture() {
    std::filesystem::create_directories(folder_.path() / "audio-to-audio");
    std::ofstream(folder_.path() / "audio-to-audio/slower.json")
        << R"({"morph": 1, "name": "audio-to-audio/slower", "default": true,
               "inputs": {"audio": {"type": "audio", "to": "change.audio"}},
               "outputs": {"audio": {"type": "audio", "from": "change.audio"}},
               "params": {"rate": {"to": ["change.rate"], "default": 8000}},
               "stages": {"change": {"stage": "audio/resample"}}, "links": []})";
    EngineOptions options;
    options.n_threads = 2;
    options.pipeline_folders = {folder_.path()};
    engine_ = std::make_unique<Engine>(options, register_everything);
  }
  Engine& engine() { return *engine_; }
  std::filesystem::path file(const std::string& name) const { return folder_.path() / name; }

 private:
  ScratchFolder folder_;
  std::unique_ptr<Engine> engine_;
};

void put(std::string& out, std::uint32_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

/// Half a second of a tone at 16 kHz.
std::string tone_wav() {
  constexpr int kRate = 16000, kFrames = 8000;
  std::string out = "RIFF";
  put(out, 36 + 2 * kFrames, 4);
  out += "WAVEfmt ";
  put(out, 16, 4);
  put(out, 1, 2);
  put(out, 1, 2);
  put(out, kRate, 4);
  put(out, 2 * kRate, 4);
  put(out, 2, 2);
  put(out, 16, 2);
  out += "data";
  put(out, 2 * kFrames, 4);
  for (int i = 0; i < kFrames; ++i)
    put(out, static_cast<std::uint32_t>(static_cast<int>(8000 * std::sin(0.05 * i)) & 0xffff), 2);
  return out;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::uint32_t rate_of(const std::string& wav) {
  std::uint32_t rate = 0;
  REQUIRE(wav.size() > 44);
  std::memcpy(&rate, wav.data() + 24, 4);
  return rate;
}

}  // namespace

TEST_CASE("a request takes bytes and gives bytes", "[unit]") {
  Fixture fixture;
  std::string made;
  Request request;
  request.inputs = {input_of_bytes(fixture.engine(), bytes_of(tone_wav()))};
  CHECK(request.inputs[0].modality == "audio");
  request.output.type = ".wav";
  request.output.bytes = [&](std::span<const std::byte> piece) {
    made.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  };
  const RequestResult result = run_request(fixture.engine(), request);
  CHECK(made.starts_with("RIFF"));
  CHECK(rate_of(made) == 8000);
  CHECK(result.files.empty());
  CHECK_THAT(result.provenance, Contains("audio-to-audio/slower") && !Contains("/proc/"));
}

TEST_CASE("a request takes a file and writes one with its record", "[unit]") {
  Fixture fixture;
  std::ofstream(fixture.file("tone.wav"), std::ios::binary) << tone_wav();
  Request request;
  request.inputs = {classify_input(fixture.engine(), fixture.file("tone.wav").string(), "")};
  request.output.path = fixture.file("made.wav").string();
  request.assignments = {"rate=11025", "out.audio.bits=24"};
  const RequestResult result = run_request(fixture.engine(), request);
  CHECK(result.files == std::vector<std::string>{request.output.path});
  const std::optional<std::string> record = read_provenance(request.output.path);
  REQUIRE(record);
  CHECK_THAT(*record, Contains("\"rate\": 11025") && Contains("\"bits\": 24"));
}

TEST_CASE("a request takes values and gives values", "[unit]") {
  Fixture fixture;
  auto chunk = std::make_shared<AudioChunk>();
  chunk->samples.assign(1600, 0.25f);
  chunk->rate_hz = 16000;
  chunk->channels = 1;
  const Format format{"audio/pcm", {{"rate", Value(std::int64_t{16000})}, {"channels", Value(std::int64_t{1})}}};
  std::size_t n_frames = 0;
  Request request;
  request.inputs = {input_of_values("audio", {Packet::data<AudioChunk>(std::move(chunk))}, format)};
  request.output.type = "audio";
  request.output.values = [&](const Packet& packet) { n_frames += packet.as<AudioChunk>().n_frames(); };
  run_request(fixture.engine(), request);
  CHECK(n_frames == 800);
}

TEST_CASE("what a caller's function throws ends the request", "[unit]") {
  Fixture fixture;
  Request request;
  request.inputs = {input_of_bytes(fixture.engine(), bytes_of(tone_wav()))};
  request.output.type = "audio";
  request.output.values = [](const Packet&) { throw std::runtime_error("enough"); };
  CHECK_THROWS_WITH(run_request(fixture.engine(), request), Contains("enough"));
}

TEST_CASE("bytes of no known kind and parameters of another type are refused by name", "[unit]") {
  Fixture fixture;
  const std::string noise("\x01\x02\x03\x00\xff", 5);
  CHECK_THROWS_WITH(input_of_bytes(fixture.engine(), bytes_of(noise), "upload"), Contains("upload"));
  Request request;
  request.inputs = {input_of_bytes(fixture.engine(), bytes_of(tone_wav()))};
  request.output.type = "audio";
  request.output.values = [](const Packet&) {};
  request.assignments = {"rate=fast"};
  CHECK_THROWS_WITH(run_request(fixture.engine(), request), Contains("rate") && Contains("an integer"));
  request.assignments = {"pitch=1"};
  CHECK_THROWS_WITH(run_request(fixture.engine(), request), Contains("pitch"));
}

TEST_CASE("text of a parameter is read by the type of the parameter", "[unit]") {
  EngineOptions options;
  options.pipeline_folders = {std::filesystem::path(std::getenv("MORPH_SOURCE_DIR")) / "pipelines"};
  Engine engine(options, register_everything);
  const Pipeline chat = engine.pipelines().find("text-to-text/chat");
  CompileOptions compile;
  assign_params(engine, chat, {"system=5", "max_tokens=5", "temperature=1", "chat.model=7"}, compile);
  CHECK(std::holds_alternative<std::string>(compile.params.at("system")));
  CHECK(std::get<std::int64_t>(compile.params.at("max_tokens")) == 5);
  CHECK(std::get<double>(compile.params.at("temperature")) == 1.0);
  CHECK(std::get<std::string>(compile.params.at("chat.model")) == "7");
  CHECK_THROWS_WITH(assign_params(engine, chat, {"max_tokens"}, compile), Contains("name=value"));
}
