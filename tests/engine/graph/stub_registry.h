// A registry of stages that do nothing but declare themselves, and the environment to compile against it. Two made-up
// modalities: "sound/pcm" {rate, channels} and "words/plain". Used by the graph's tests and the pipeline fuzzer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "morph/pipeline.h"
#include "morph/registry.h"

namespace morph::testing {

class NoState final : public StageState {};

class NoStage final : public SimpleStage<NoState> {
 public:
  std::unique_ptr<StageState> open(const OpenContext&) const override { return std::make_unique<NoState>(); }
  StepStatus step_one(NoState&, StageIo&) const override { return StepStatus::done; }
};

inline FormatPattern sound(Constraint rate, Constraint channels) {
  return {"sound/pcm", {{"rate", std::move(rate)}, {"channels", std::move(channels)}}};
}
inline FormatPattern words() { return {"words/plain", {}}; }

inline Constraint exactly_int(std::int64_t value) { return Constraint::is(Value{value}); }

inline StageSpec declared(std::string name) {
  StageSpec spec;
  spec.name = std::move(name);
  spec.help = "A stage of the tests.";
  spec.create = [](const CreateContext&) -> std::shared_ptr<const Stage> { return std::make_shared<NoStage>(); };
  return spec;
}

inline ParamSpec integer_param(std::string name, std::int64_t value, double min, double max) {
  ParamSpec param;
  param.name = std::move(name);
  param.type = ParamType::integer;
  param.default_value = value;
  param.help = "a number";
  param.min = min;
  param.max = max;
  return param;
}

inline ParamSpec string_param(std::string name, std::string value, std::vector<std::string> choices = {}) {
  ParamSpec param;
  param.name = std::move(name);
  param.default_value = std::move(value);
  param.help = "a text";
  param.choices = std::move(choices);
  return param;
}

/// "sound/read" and "words/write": the ends of pipelines, and sinks, one of them live.
inline void register_ends(Registry& registry) {
  StageSpec read = declared("sound/read");
  read.outputs = {{"out", {sound({}, {})}, "samples", false}};
  read.params = {integer_param("rate", 44100, 1, 1000000), integer_param("channels", 2, 1, 64)};
  read.source_of = "sound";
  read.load = StageLoad::blocking;
  read.resolve = [](const ResolveContext& context) {
    return std::vector<std::vector<FormatPattern>>{
        {sound(exactly_int(context.params.get_int("rate")), exactly_int(context.params.get_int("channels")))}};
  };
  registry.add_stage(read);

  StageSpec write = declared("words/write");
  write.inputs = {{"in", {words()}, "text", false}};
  write.sink_of = "words";
  write.params = {string_param("file", "-")};
  write.load = StageLoad::blocking;
  registry.add_stage(write);

  StageSpec preview = declared("sound/preview");
  preview.inputs = {{"in", {sound({}, {})}, "samples", false}};
  preview.sink_of = "sound";
  preview.live = true;
  registry.add_stage(preview);
}

/// "sound/hear" (16 kHz mono to words; heavy, with weights) and "words/rewrite", "words/join".
inline void register_middle(Registry& registry) {
  StageSpec hear = declared("sound/hear");
  hear.inputs = {{"sound", {sound(exactly_int(16000), exactly_int(1))}, "speech", false},
                 {"hint", {words()}, "what to expect", true}};
  hear.outputs = {{"words", {words()}, "text", false}, {"events", {{"event", {}}}, "starts and ends", false}};
  ParamSpec required = string_param("model", "");
  required.default_value = Value{};
  required.required = true;
  hear.params = {required, integer_param("beams", 8, 1, 64), string_param("precision", "f32", {"f32", "q8", "q4"})};
  hear.load = StageLoad::heavy;
  hear.devices = {"cpu", "cuda"};
  hear.estimate = [](const ResolveContext& context) {
    (void)context.find_model(context.params.get_string("model"));
    const std::string& precision = context.params.get_string("precision");
    Estimate estimate;
    estimate.weights = precision == "f32" ? 400'000'000 : precision == "q8" ? 100'000'000 : 50'000'000;
    estimate.weights_key = context.params.get_string("model") + "/" + precision;
    estimate.session = 1'000'000 * static_cast<std::uint64_t>(context.params.get_int("beams"));
    estimate.scratch = 3'000'000;
    estimate.load_peak = 10'000'000;
    estimate.runtime = 20'000'000;
    estimate.runtime_key = "library";
    estimate.packet_bytes = 1000;
    return estimate;
  };
  registry.add_stage(hear);

  StageSpec rewrite = declared("words/rewrite");
  rewrite.inputs = {{"in", {words()}, "text", false}};
  rewrite.outputs = {{"out", {words()}, "text", false}};
  ParamSpec style = string_param("style", "plain", {"plain", "grand"});
  ParamSpec heat;
  heat.name = "heat";
  heat.type = ParamType::number;
  heat.default_value = 0.5;
  heat.help = "how wild";
  heat.min = 0.0;
  heat.max = 1.0;
  rewrite.params = {style, heat};
  rewrite.validate = [](const Params& params, std::vector<Diagnostic>& found) {
    if (params.get_string("style") == "grand" && params.get_double("heat") == 0.0)
      found.push_back({Diagnostic::Severity::error, ErrorCode::config, "heat", "grand needs heat"});
  };
  registry.add_stage(rewrite);

  StageSpec join = declared("words/join");
  join.inputs = {{"a", {words()}, "first", false}, {"b", {words()}, "second", false}};
  join.outputs = {{"out", {words()}, "both", false}};
  registry.add_stage(join);
}

/// "sound/mix" (any channels to any) and "sound/resample" (any rate to any): converters as the real ones are.
inline void register_converters(Registry& registry) {
  StageSpec mix = declared("sound/mix");
  mix.converter = true;
  mix.inputs = {{"in", {sound({}, Constraint::range(1, 64))}, "samples", false}};
  mix.outputs = {{"out", {sound({}, Constraint::range(1, 64))}, "samples", false}};
  mix.resolve = [](const ResolveContext& context) {
    return std::vector<std::vector<FormatPattern>>{
        {sound(exactly_int(context.inputs[0]->get_int("rate")),
               Constraint::range(1, 64, context.inputs[0]->get_int("channels")))}};
  };
  registry.add_stage(mix);
  StageSpec resample = declared("sound/resample");
  resample.converter = true;
  resample.inputs = {{"in", {sound(Constraint::range(1, 1000000), {})}, "samples", false}};
  resample.outputs = {{"out", {sound(Constraint::range(1, 1000000), {})}, "samples", false}};
  resample.resolve = [](const ResolveContext& context) {
    return std::vector<std::vector<FormatPattern>>{
        {sound(Constraint::range(1, 1000000, context.inputs[0]->get_int("rate")),
               exactly_int(context.inputs[0]->get_int("channels")))}};
  };
  registry.add_stage(resample);
}

inline void register_all_stubs(Registry& registry) {
  register_ends(registry);
  register_middle(registry);
  register_converters(registry);
}

inline std::filesystem::path find_stub_model(const std::string& name) {
  if (name.rfind("missing", 0) == 0) throw Error(ErrorCode::weights, name, "run `morph pull " + name + "`");
  return "/models/" + name;
}

}  // namespace morph::testing
