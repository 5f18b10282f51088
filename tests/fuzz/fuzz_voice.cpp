// Any bytes as a Piper voice's settings: described, or an Error{weights} names the file; nothing that comes out of them
// is beyond what a voice can have.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "modalities/audio/synthesise/voice.h"
#include "morph/engine.h"
#include "morph/error.h"
#include "tests/fuzz/scratch_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace morph;
  static const fuzz::ScratchFolder folder;
  static Registry& registry = *[] {
    auto* made = new Registry;
    register_everything(*made);
    folder.write("voice.onnx", nullptr, 0);
    return made;
  }();
  folder.write("voice.onnx.json", data, size);
  for (const auto& [name, family] : registry.families()) try {
      if (family.job != audio::kVoiceJob || !family.recognise(folder.path())) continue;
      const auto info = std::dynamic_pointer_cast<const audio::VoiceInfo>(family.describe(folder.path()));
      if (!info || info->rate_hz < 8000 || info->rate_hz > 96000 || info->speakers.size() > 100000) std::abort();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::weights) std::abort();
    }
  return 0;
}
