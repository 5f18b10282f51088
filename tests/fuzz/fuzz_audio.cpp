// Media bytes from anywhere: sniffing, WAV headers, whole files through libsndfile and FFmpeg, and the payload's wire
// form. Only named errors may come out; memory is bounded because decoding stops after some seconds.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "modalities/audio/audio_payload.h"
#include "modalities/audio/io/audio_source.h"
#include "modalities/audio/io/wav_header.h"
#include "morph/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace audio = morph::audio;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  audio::sniff_audio("sound.m4a", bytes);
  try {
    audio::parse_wav_header(bytes, "fuzz");
  } catch (const morph::Error&) {
  }
  try {
    audio::decode_audio(bytes);
  } catch (const morph::Error&) {
  }
  const int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  if (file < 0 || ::write(file, data, size) != static_cast<ssize_t>(size)) return 0;
  try {
    const auto source = audio::open_audio("/proc/self/fd/" + std::to_string(file), {});
    std::vector<float> samples;
    for (int i = 0; i < 64; ++i) {
      samples.clear();
      if (source->read(8192, samples) != audio::AudioSource::Status::more) break;
    }
  } catch (const morph::Error&) {
  }
  ::close(file);
  return 0;
}
