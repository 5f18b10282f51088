// VITS voices: against transformers' own numbers where the parity set lies beside, against NumPy's at other sizes and
// with speakers, weight norm and no window; damaged copies; speaking through the stage.
#include <cmath>

#include "families/family_folder.h"
#include "morph/audio.h"
#include "morph/text.h"
#include "testing/stage_harness.h"

namespace fs = std::filesystem;

namespace morph {
namespace {

using testing::FolderCopy;
using testing::own_golden;

struct Fixture {
  Fixture() { register_everything(registry); }
  const FamilySpec& vits() const {
    const FamilySpec* found = registry.find_family("vits");
    REQUIRE(found != nullptr);
    return *found;
  }
  Registry registry;
};

TEST_CASE("VITS matches its parity set", "[parity]") {
  const Fixture fixture;
  fs::path folder;
  if (!testing::shared_golden("vits", folder)) return;
  CHECK(fixture.vits().recognise(folder));
  testing::check_verified(fixture.vits(), folder, 1e-8);
}

TEST_CASE("VITS of other sizes matches NumPy", "[unit]") {
  const Fixture fixture;
  for (const char* name : {"vits", "vits_plain"}) {
    INFO(name);
    CHECK(fixture.vits().recognise(own_golden(name)));
    testing::check_verified(fixture.vits(), own_golden(name), 1e-8);
  }
  CHECK_FALSE(fixture.vits().recognise(own_golden("bert")));
}

TEST_CASE("VITS refuses damaged checkpoints by name", "[unit]") {
  const Fixture fixture;
  const auto refusal = [&](const FolderCopy& copy) -> std::string {
    try {
      fixture.vits().verify(copy.path(), "cpu");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::weights);
      return error.what();
    }
    return "";
  };
  const auto damaged = [&](const std::string& file, const std::string& from, const std::string& to) {
    const FolderCopy copy(own_golden("vits"));
    copy.change(file, from, to);
    return refusal(copy);
  };
  CHECK_THAT(damaged("model.safetensors", "decoder.conv_pre.bias", "decoder.conv_pre.bIas"),
             Catch::Contains("missing: decoder.conv_pre.bias") && Catch::Contains("decoder.conv_pre.bIas"));
  CHECK_THAT(damaged("config.json", "\"hidden_size\": 12", "\"hidden_size\": 13"),
             Catch::Contains("config.json/num_attention_heads") && Catch::Contains("found 3"));
  CHECK_THAT(damaged("config.json", "\"flow_size\": 10", "\"flow_size\": 20"), Catch::Contains("misshapen"));
  CHECK_THAT(damaged("config.json", "\"flow_size\": 10", "\"flow_size\": \"x\""),
             Catch::Contains("config.json/flow_size") && Catch::Contains("found \"x\""));
  CHECK_THAT(damaged("config.json", "\"upsample_rates\": [", "\"upsample_rates\": [0, "),
             Catch::Contains("config.json/upsample_rates"));
  CHECK_THAT(damaged("config.json", "\"vocab_size\": 31,", ""),
             Catch::Contains("config.json/vocab_size") && Catch::Contains("found nothing"));
}

std::vector<float> reading(const Fixture& fixture, const fs::path& folder,
                           std::vector<std::pair<std::string, Value>> more, std::uint64_t seed = 0) {
  Params params;
  params.set("voice", folder.string());
  for (auto& [name, value] : more) params.set(name, value);
  testing::HarnessOptions options;
  options.seed = seed;
  testing::StageHarness harness(*fixture.registry.find_stage("audio/speak"), params, options);
  Text text;
  text.utf8 = "Hello there, dear friend.";
  harness.feed("text", text);
  harness.end("text");
  REQUIRE(harness.run() == StepStatus::done);
  CHECK(harness.output_format("audio").get_int("rate") == 8000);
  std::vector<float> samples;
  for (const AudioChunk& chunk : harness.take_as<AudioChunk>("audio"))
    samples.insert(samples.end(), chunk.samples.begin(), chunk.samples.end());
  return samples;
}

TEST_CASE("audio/speak speaks with VITS and repeats for a seed", "[unit]") {
  const Fixture fixture;
  const auto samples = reading(fixture, own_golden("vits"), {});
  REQUIRE(samples.size() > 800);
  for (const float sample : samples) REQUIRE(std::isfinite(sample));
  CHECK(samples == reading(fixture, own_golden("vits"), {}));
  CHECK(samples != reading(fixture, own_golden("vits"), {}, 7));
  CHECK(samples != reading(fixture, own_golden("vits"), {{"speaker", std::string("1")}}));
  // Half the speed takes about twice as long.
  const auto calm = [&](double speed) {
    return reading(fixture, own_golden("vits"), {{"noise", 0.0}, {"noise_timing", 0.0}, {"speed", speed}}).size();
  };
  CHECK(static_cast<double>(calm(0.5)) > 1.5 * static_cast<double>(calm(1.0)));
}

TEST_CASE("audio/speak names what a VITS folder lacks", "[unit]") {
  const Fixture fixture;
  const FolderCopy copy(own_golden("vits"));
  fs::remove(copy.path() / "vocab.json");
  CHECK_THROWS_WITH(reading(fixture, copy.path(), {}), Catch::Contains("vocab.json"));
}

}  // namespace
}  // namespace morph
