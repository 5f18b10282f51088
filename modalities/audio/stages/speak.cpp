// Stage audio/speak: text in, speech out. The declaration; the work is in synthesise/speak_stage.cpp.
#include "morph/error.h"
#include "morph/registry.h"
#include "synthesise/speak_stage.h"
#include "synthesise/voice.h"

namespace morph::audio {
namespace {

std::vector<ParamSpec> speak_params() {
  std::vector<ParamSpec> params;
  params.push_back({.name = "voice",
                    .type = ParamType::path,
                    .default_value = std::string("piper-en-us-joe"),
                    .help = "voice by name or folder (Piper's or Kokoro's ONNX form, or VITS from Hugging Face)"});
  params.push_back({.name = "speed",
                    .type = ParamType::number,
                    .default_value = 1.0,
                    .help = "speaking rate; 2 is twice as fast",
                    .min = 0.25,
                    .max = 4.0});
  params.push_back({.name = "noise",
                    .type = ParamType::number,
                    .default_value = Value{},
                    .help = "variation of the sound; left out, 0.7 of what a Piper voice publishes",
                    .min = 0.0,
                    .max = 2.0});
  params.push_back({.name = "noise_timing",
                    .type = ParamType::number,
                    .default_value = Value{},
                    .help = "variation of the rhythm; left out, 0.7 of what a Piper voice publishes",
                    .min = 0.0,
                    .max = 2.0});
  params.push_back({.name = "speaker",
                    .type = ParamType::string,
                    .default_value = std::string(),
                    .help = "speaker of a voice that has several, by name or number"});
  params.push_back({.name = "seed",
                    .type = ParamType::integer,
                    .default_value = std::int64_t{0},
                    .help = "another seed is another reading of the same text; added to the run's seed"});
  params.push_back({.name = "pause_ms",
                    .type = ParamType::number,
                    .default_value = 250.0,
                    .help = "pause between sentences; half of it between clauses",
                    .min = 0.0,
                    .max = 5000.0});
  for (ParamSpec& param : params) {
    if (param.name == "voice") continue;
    param.scope = ParamScope::run;
    param.changeable = true;
  }
  return params;
}

}  // namespace

void register_speak(Registry& registry) {
  StageSpec spec;
  spec.name = "audio/speak";
  spec.help = "Speaks text with a neural voice, clause by clause.";
  spec.inputs = {{"text", {{"text/plain", {}}}, "what to say: clauses of an answer, or whole documents"}};
  spec.outputs = {{"audio", {{"audio/pcm", {{"channels", Constraint::is(std::int64_t{1})}}}}, "speech, mono"}};
  spec.params = speak_params();
  spec.load = StageLoad::heavy;
  spec.devices = {"cpu", "gpu"};
  spec.checkpointable = true;
  const std::shared_ptr<const Families> families = registry.part<Families>();
  spec.resolve = [families](const ResolveContext& context) {
    const auto info = families->describe<VoiceInfo>(kVoiceJob, context.find_model(context.params.get_string("voice")));
    FormatPattern pattern{
        "audio/pcm",
        {{"rate", Constraint::is(std::int64_t{info->rate_hz})}, {"channels", Constraint::is(std::int64_t{1})}}};
    return std::vector<std::vector<FormatPattern>>{{pattern}};
  };
  spec.estimate = [families](const ResolveContext& context) {
    const std::filesystem::path folder = context.find_model(context.params.get_string("voice"));
    FamilyUse use;
    use.device = context.device;
    use.n_threads = context.n_threads;
    use.source_bytes = context.source_bytes;
    return families->find(kVoiceJob, folder).estimate(folder, use);
  };
  spec.create = [families](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const std::filesystem::path folder = context.find_model(context.params.get_string("voice"));
    FamilyUse use;
    use.device = context.device;
    use.n_threads = context.n_threads;
    context.progress(0.0, "voice");
    std::shared_ptr<const Voice> voice = families->create<Voice>(
        kVoiceJob, folder, use, context.models, [&](double done) { context.progress(0.8 * done, "voice"); });
    context.progress(0.8, "voice (warming up)");
    std::shared_ptr<const Stage> stage = make_speak_stage(std::move(voice));
    context.progress(1.0, "voice");
    return stage;
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::audio
