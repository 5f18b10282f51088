// Finds the family of a voice folder.
#include "speaking/voice.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>

#include "morph/error.h"

namespace morph::audio {

const VoiceFamily& find_voice_family(const std::filesystem::path& folder) {
  const std::array<const VoiceFamily*, 2> families{&vits_piper_family(), &kokoro_family()};
  std::string names;
  for (const VoiceFamily* family : families) {
    if (family->recognise(folder)) return *family;
    names += (names.empty() ? "" : ", ") + std::string(family->name);
  }
  throw Error(ErrorCode::weights, folder.string(),
              "expected a voice (" + names +
                  "), found neither an ONNX voice with its .onnx.json nor an ONNX model with vocab.json and voices/");
}

std::string read_voice_file(const std::filesystem::path& file) {
  std::error_code failed;
  const auto bytes = std::filesystem::file_size(file, failed);
  if (failed) throw Error(ErrorCode::weights, file.string(), "expected a voice's configuration, found no such file");
  if (bytes > (64u << 20))
    throw Error(ErrorCode::weights, file.string(), "expected a small file, found more than 64 MB");
  std::ifstream stream(file, std::ios::binary);
  std::string text(static_cast<std::size_t>(bytes), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(bytes));
  if (!stream) throw Error(ErrorCode::weights, file.string(), "cannot be read");
  return text;
}

std::size_t speaker_index(const VoiceInfo& info, const std::string& speaker, std::size_t default_index) {
  if (speaker.empty()) return default_index;
  const auto found = std::find(info.speakers.begin(), info.speakers.end(), speaker);
  if (found != info.speakers.end()) return static_cast<std::size_t>(found - info.speakers.begin());
  std::size_t index = 0;
  const auto parsed = std::from_chars(speaker.data(), speaker.data() + speaker.size(), index);
  const std::size_t n = std::max<std::size_t>(1, info.speakers.size());
  if (parsed.ec == std::errc{} && parsed.ptr == speaker.data() + speaker.size() && index < n) return index;
  std::string names;
  for (std::size_t i = 0; i < std::min<std::size_t>(info.speakers.size(), 20); ++i)
    names += (i == 0 ? "" : ", ") + info.speakers[i];
  throw Error(ErrorCode::config, "audio/speak/speaker",
              "no speaker \"" + speaker + "\" in voice " + info.folder.filename().string() +
                  (names.empty() ? "; it has one speaker, leave the parameter out" : "; it has " + names));
}

}  // namespace morph::audio
