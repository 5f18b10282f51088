// Drives every registered stage through its ports alone: no input at all, a sample of what its ports accept, a payload
// that its format does not promise, a cancel half-way, two sessions at once. A new stage is covered by being
// registered.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "morph/audio.h"
#include "morph/image.h"
#include "morph/registry.h"
#include "morph/text.h"
#include "testing/stage_harness.h"

using namespace morph;
using morph::testing::HarnessOptions;
using morph::testing::StageHarness;

namespace {

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "morph-walk-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// By convention a parameter that names weights is "model", "voice" or "*_model".
bool has_weights(const StageSpec& spec) {
  for (const ParamSpec& param : spec.params)
    if (param.name == "model" || param.name == "voice" || param.name.ends_with("_model")) return true;
  return false;
}

std::string modality_of(const Format& format) { return format.type.substr(0, format.type.find('/')); }

/// What the port accepts first, with the fields that every audio link has.
Format sample_format(const PortSpec& port) {
  Format format = fixate(port.formats.front());
  if (modality_of(format) == "audio") {
    format.fields.try_emplace("rate", std::int64_t{16000});
    format.fields.try_emplace("channels", std::int64_t{1});
  }
  return format;
}

std::vector<std::shared_ptr<const Payload>> samples_of(const Format& format) {
  std::vector<std::shared_ptr<const Payload>> samples;
  const std::string modality = modality_of(format);
  if (modality == "text") {
    const auto text = std::make_shared<Text>();
    text->utf8 = "Hello there.";
    samples.push_back(text);
  } else if (modality == "image") {
    const auto image = std::make_shared<Image>();
    image->width = image->height = 64;
    image->pixels.assign(64 * 64 * 3, 250);
    samples.push_back(image);
  } else if (modality == "tensor") {
    const auto tensor = std::make_shared<TensorPayload>();
    tensor->shape = {4};
    tensor->data.resize(4 * sizeof(float));
    samples.push_back(tensor);
  } else if (modality == "audio") {
    for (int i = 0; i < 4; ++i) {
      const auto chunk = std::make_shared<AudioChunk>();
      chunk->rate_hz = static_cast<int>(format.get_int("rate"));
      chunk->channels = static_cast<int>(format.get_int("channels"));
      chunk->samples.resize(static_cast<std::size_t>(chunk->rate_hz / 4 * chunk->channels));
      for (std::size_t k = 0; k < chunk->samples.size(); ++k)
        chunk->samples[k] = 0.2f * std::sin(static_cast<float>(k) * 0.05f);
      samples.push_back(chunk);
    }
  }
  return samples;
}

/// A stage with the parameters that it needs to be created at all.
struct Case {
  const StageSpec& spec;
  Params params;
  HarnessOptions options;

  Case(const StageSpec& the_spec, const Folder& folder, const std::string& name) : spec(the_spec) {
    const std::filesystem::path samples = std::filesystem::path(std::getenv("MORPH_SOURCE_DIR")) / "assets" / "samples";
    if (spec.source_of == "audio") params.set("path", (samples / "question.wav").string());
    if (spec.source_of == "image") params.set("path", (samples / "scan.png").string());
    if (spec.source_of == "text") params.set("text", std::string("Hello there."));
    if (!spec.sink_of.empty()) {
      REQUIRE_FALSE(spec.suffixes.empty());
      params.set("path", (folder.path() / (name + spec.suffixes.front())).string());
    }
    for (const PortSpec& port : spec.inputs) options.inputs[port.name] = sample_format(port);
  }

  std::unique_ptr<StageHarness> make() const { return std::make_unique<StageHarness>(spec, params, options); }
  void feed(StageHarness& harness) const {
    for (const PortSpec& port : spec.inputs) {
      StreamTime time{0};
      for (const auto& payload : samples_of(options.inputs.at(port.name))) {
        harness.feed(port.name, Packet::data(payload, time));
        time += std::chrono::milliseconds(250);
      }
    }
  }
  void end(StageHarness& harness) const {
    for (const PortSpec& port : spec.inputs) harness.end(port.name);
  }
};

/// What was sent on every port, as bytes; checks it against the formats that were promised, where they are given.
std::vector<std::vector<std::byte>> sent_by(StageHarness& harness, const StageSpec& spec, bool check) {
  std::vector<std::vector<std::byte>> all;
  for (const PortSpec& port : spec.outputs) {
    INFO("output " << port.name);
    std::vector<std::byte>& bytes = all.emplace_back();
    for (const Packet& packet : harness.take(port.name)) {
      if (!packet.payload) continue;
      packet.payload->encode(bytes);
      if (!check) continue;
      const Format& format = harness.output_format(port.name);
      const std::string modality = modality_of(format);
      const std::string type(packet.payload->type_name());
      CHECK(type.substr(0, type.find('.')) == modality);
      if (const auto chunk = packet.share<AudioChunk>()) {
        CHECK(chunk->rate_hz == format.get_int("rate"));
        CHECK(chunk->channels == format.get_int("channels"));
        CHECK(chunk->samples.size() % static_cast<std::size_t>(chunk->channels) == 0);
      }
      if (const auto image = packet.share<Image>()) {
        CHECK(image->channels == format.get_int("channels"));
        CHECK(image->pixels.size() == static_cast<std::size_t>(image->width * image->height * image->channels));
      }
    }
  }
  return all;
}

void check_nothing(const Case& one) {
  INFO("without input");
  const auto harness = one.make();
  one.end(*harness);
  CHECK(harness->run() == StepStatus::done);
}

void check_sample(const Case& one) {
  INFO("with a sample of what it accepts");
  const auto harness = one.make();
  one.feed(*harness);
  one.end(*harness);
  CHECK(harness->run() == StepStatus::done);
  for (const PortSpec& port : one.spec.inputs) CHECK(harness->available(port.name) == 0);
  sent_by(*harness, one.spec, true);
}

void check_wrong_payload(const Case& one) {
  for (const PortSpec& port : one.spec.inputs) {
    INFO("with a payload of another kind on input " << port.name);
    const auto harness = one.make();
    std::shared_ptr<const Payload> wrong = std::make_shared<const TensorPayload>();
    if (modality_of(one.options.inputs.at(port.name)) == "tensor") wrong = std::make_shared<const EventPayload>();
    harness->feed(port.name, Packet::data(wrong));
    one.end(*harness);
    bool refused = false, passed_on = false;  // a converter with nothing to do does not look
    try {
      harness->run();
    } catch (const Error&) {
      refused = true;
    }
    for (const PortSpec& output : one.spec.outputs)
      for (const Packet& packet : harness->take(output.name)) passed_on = passed_on || packet.payload == wrong;
    // An optional input may be there for politeness only.
    CHECK((refused || port.optional || (one.spec.converter && passed_on)));
  }
}

/// It comes to rest, or says that it was cancelled; and a sink whose run ends so leaves no file that looks whole.
void check_cancel(const Case& one) {
  INFO("cancelled after a step");
  const bool writes = !one.spec.sink_of.empty() && one.params.has("path");
  const std::filesystem::path file = writes ? one.params.get_string("path") : std::string();
  std::error_code ignored;
  if (writes) std::filesystem::remove(file, ignored);  // of the sessions before
  {
    const auto harness = one.make();
    one.feed(*harness);
    harness->step();
    harness->cancel();
    StepStatus status = StepStatus::done;
    try {
      status = harness->run();
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::cancelled);
    }
    const bool waits_for_more = status == StepStatus::need_input || status == StepStatus::done;
    CHECK(waits_for_more);
  }
  if (writes) CHECK_FALSE(std::filesystem::exists(file));
}

void check_two_sessions(const Case& one) {
  INFO("two sessions in turns");
  const auto first = one.make();
  const std::shared_ptr<const Stage> same(&first->stage(), [](const Stage*) {});  // `first` owns it
  StageHarness second(same, one.spec, one.options);
  one.feed(*first);
  one.feed(second);
  one.end(*first);
  one.end(second);
  bool done_first = false, done_second = false;
  for (int i = 0; i < 10000 && !(done_first && done_second); ++i) {
    done_first = first->step() == StepStatus::done;
    done_second = second.step() == StepStatus::done;
  }
  CHECK(done_first);
  CHECK(done_second);
  CHECK(sent_by(*first, one.spec, true) == sent_by(second, one.spec, false));
}

/// What a sink has written so far, or "".
std::string written_by(const Case& one) {
  if (!one.params.has("path") || one.spec.sink_of.empty()) return "";
  std::ifstream file(one.params.get_string("path"), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Saved after every number of steps and gone on with in another state, it sends and writes the same.
void check_saving(Case one, const Folder& folder) {
  INFO("saved between two steps");
  if (!one.spec.checkpointable) return;
  const auto whole = one.make();
  one.feed(*whole);
  one.end(*whole);
  REQUIRE(whole->run() == StepStatus::done);
  const std::vector<std::vector<std::byte>> expected = sent_by(*whole, one.spec, false);
  const std::string expected_file = written_by(one);
  one.options.segments = folder.path() / "segments";
  bool done = false;
  for (std::size_t n_steps = 0; !done && n_steps < 50; ++n_steps) {
    INFO("after " << n_steps << " steps");
    const auto first = one.make();
    one.feed(*first);
    one.end(*first);
    for (std::size_t i = 0; i < n_steps; ++i) done = first->step() == StepStatus::done;
    if (done) break;
    std::vector<std::vector<std::byte>> sent = sent_by(*first, one.spec, false);
    const auto second = one.make();
    second->state().restore(first->state().save());
    for (const PortSpec& port : one.spec.inputs) {
      const auto payloads = samples_of(one.options.inputs.at(port.name));
      const std::size_t n_left = first->available(port.name);
      for (std::size_t i = payloads.size() - n_left; i < payloads.size(); ++i)
        second->feed(port.name, Packet::data(payloads[i], std::chrono::milliseconds(250) * static_cast<long>(i)));
      second->end(port.name);
    }
    REQUIRE(second->run() == StepStatus::done);
    const std::vector<std::vector<std::byte>> rest = sent_by(*second, one.spec, false);
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i].insert(sent[i].end(), rest[i].begin(), rest[i].end());
    CHECK(sent == expected);
    CHECK(written_by(one) == expected_file);
    const std::vector<std::byte> saved = first->state().save();
    for (std::size_t n = 0; n < saved.size(); n += 1 + saved.size() / 20) {  // cut short: refused, by name
      const auto damaged = one.make();
      try {
        damaged->state().restore(std::span(saved).first(n));
        FAIL_CHECK("a state of " << n << " of " << saved.size() << " bytes was taken");
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::format);
      }
    }
  }
  std::filesystem::remove_all(folder.path() / "segments");
}

/// Returns how many stages were driven.
std::size_t walk(bool with_weights) {
  REQUIRE(std::getenv("MORPH_SOURCE_DIR") != nullptr);
  Registry registry;
  register_everything(registry);
  const Folder folder;
  std::size_t n_driven = 0;
  for (const auto& [name, spec] : registry.stages()) {
    if (has_weights(spec) != with_weights) continue;
    if (name.starts_with("test/") || !spec.create) continue;
    INFO("stage " << name);
    const Case one(spec, folder, std::to_string(n_driven));
    try {
      one.make();
    } catch (const Error& error) {
      INFO(error.what());
      CHECK(error.code() == ErrorCode::weights);
      WARN(name << " was not driven: " << error.what());
      continue;
    }
    ++n_driven;
    try {
      check_nothing(one);
      check_sample(one);
      check_wrong_payload(one);
      check_cancel(one);
      check_saving(one, folder);
      if (spec.sink_of.empty()) check_two_sessions(one);  // two writers of one file have no order
    } catch (const Error& error) {
      FAIL_CHECK(error.what());
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    INFO("left behind: " << entry.path());
    CHECK(entry.path().stem().string().find('.') == std::string::npos);  // no temporary file survives its session
  }
  return n_driven;
}

}  // namespace

TEST_CASE("every stage without weights keeps its promises", "[unit]") { CHECK(walk(false) > 5); }

TEST_CASE("every stage with weights keeps its promises", "[weights]") { CHECK(walk(true) > 0); }

TEST_CASE("sources refuse files that are not there or empty, by name", "[unit]") {
  Registry registry;
  register_everything(registry);
  const Folder folder;
  const std::string empty = (folder.path() / "empty").string();
  std::ofstream(empty).close();
  for (const auto& [name, spec] : registry.stages()) {
    if (spec.source_of.empty()) continue;
    INFO("stage " << name);
    for (const std::string& path : {std::string("/no/such/file"), empty, folder.path().string()}) {
      INFO(path);
      try {
        StageHarness harness(spec, Params({{"path", path}}));
        harness.run();
        CHECK((spec.source_of == "text" && path == empty));  // an empty text is a text
      } catch (const Error& error) {
        CHECK(error.code() != ErrorCode::internal);
        CHECK(std::string(error.what()).find(path) != std::string::npos);
      }
    }
  }
}
