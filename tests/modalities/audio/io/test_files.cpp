// audio/read and audio/write over files: round trips of every suffix, odd formats, damage.
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "io/audio_sink.h"
#include "io/audio_source.h"
#include "modalities/audio/io/sound_scratch.h"

using namespace morph;
using namespace morph::testing;

namespace {

double level_of(const std::vector<float>& samples) {
  double sum = 0;
  for (const float x : samples) sum += static_cast<double>(x) * x;
  return samples.empty() ? 0 : std::sqrt(sum / static_cast<double>(samples.size()));
}

/// Energy of one frequency in a mono signal, as amplitude.
double amplitude_at(const std::vector<float>& samples, int rate_hz, double hz) {
  double re = 0, im = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const double phase = 2 * 3.14159265358979 * hz * static_cast<double>(i) / rate_hz;
    re += samples[i] * std::cos(phase);
    im += samples[i] * std::sin(phase);
  }
  return 2 * std::hypot(re, im) / static_cast<double>(samples.size());
}

}  // namespace

TEST_CASE("wav, flac and raw give back what was written", "[unit][audio]") {
  const SoundScratch scratch;
  const int rate = GENERATE(8000, 22050, 44100);
  const int channels = GENERATE(1, 2);
  const std::vector<AudioChunk> chunks{tone(rate, channels, 0.7), tone(rate, channels, 0.6, 300)};
  std::vector<float> all = chunks[0].samples;
  all.insert(all.end(), chunks[1].samples.begin(), chunks[1].samples.end());
  for (const std::int64_t bits : {16, 24, 32}) {
    const double tolerance = bits == 16 ? 0.5001 / 32768 : bits == 24 ? 0.5001 / 8388608 : 0.0;
    for (const std::string suffix : {".wav", ".flac", ".raw"}) {
      if (suffix == ".flac" && bits == 32) continue;
      const std::string path = scratch.file("tone" + suffix);
      write_audio(path, chunks, Params({{"bits", bits}}));
      Params params;
      if (suffix == ".raw") {
        params.set("encoding", std::string(bits == 16 ? "s16le" : bits == 24 ? "s24le" : "f32le"));
        params.set("rate", std::int64_t{rate});
        params.set("channels", std::int64_t{channels});
      }
      INFO(path << " " << bits << " bits");
      const Heard heard = read_audio(path, params);
      CHECK(heard.all.rate_hz == rate);
      CHECK(heard.all.channels == channels);
      REQUIRE(heard.all.samples.size() == all.size());
      double worst = 0;
      for (std::size_t i = 0; i < all.size(); ++i)
        worst = std::max(worst, std::abs(static_cast<double>(all[i]) - heard.all.samples[i]));
      CHECK(worst <= tolerance);
      CHECK(heard.truncated == 0);
    }
  }
  CHECK(scratch.n_files() == 3);  // no temporary is left
}

TEST_CASE("a second copy of a 16 bit file has the same samples", "[unit][audio]") {
  const SoundScratch scratch;
  AudioChunk extremes = tone(16000, 1, 0.1);
  extremes.samples[0] = 2.0f;
  extremes.samples[1] = -2.0f;
  write_audio(scratch.file("a.wav"), {extremes});
  const Heard first = read_audio(scratch.file("a.wav"));
  CHECK(first.all.samples[0] == 32767.0f / 32768.0f);
  CHECK(first.all.samples[1] == -1.0f);
  write_audio(scratch.file("b.wav"), {first.all});
  CHECK(read_audio(scratch.file("b.wav")).all.samples == first.all.samples);
  CHECK(bytes_of(scratch.file("a.wav")) == bytes_of(scratch.file("b.wav")));
}

TEST_CASE("compressed files keep length, rate and the tone", "[unit][audio]") {
  const SoundScratch scratch;
  const int rate = GENERATE(22050, 48000);
  for (const std::string suffix : {".mp3", ".opus", ".ogg", ".m4a"}) {
    const std::string path = scratch.file("tone" + suffix);
    INFO(path << " at " << rate);
    write_audio(path, {tone(rate, 1, 1.5), tone(rate, 1, 0.5)}, Params({{"provenance", std::string("made by test")}}));
    const Heard heard = read_audio(path);
    CHECK(heard.all.channels == 1);
    CHECK(heard.all.rate_hz == (suffix == ".opus" && rate == 22050 ? 24000 : rate));
    const double seconds = static_cast<double>(heard.all.n_frames()) / heard.all.rate_hz;
    CHECK(seconds == Approx(2.0).margin(0.12));  // codecs pad
    CHECK(level_of(heard.all.samples) == Approx(0.5 / std::sqrt(2.0)).epsilon(0.1));
    const std::vector<float> middle(heard.all.samples.begin() + heard.all.rate_hz / 5,
                                    heard.all.samples.begin() + heard.all.rate_hz);
    CHECK(amplitude_at(middle, heard.all.rate_hz, 440) == Approx(0.5).epsilon(0.1));
    CHECK(heard.truncated == 0);
    const std::string bytes = bytes_of(path);
    CHECK(bytes.find("made by test") != std::string::npos);
    write_audio(path, {tone(rate, 1, 1.5), tone(rate, 1, 0.5)}, Params({{"provenance", std::string("made by test")}}));
    CHECK(bytes_of(path) == bytes);  // same input, same bytes
  }
}

TEST_CASE("wav and flac carry their provenance", "[unit][audio]") {
  const SoundScratch scratch;
  for (const std::string suffix : {".wav", ".flac"}) {
    write_audio(scratch.file("p" + suffix), {tone(16000, 1, 0.1)},
                Params({{"provenance", std::string("pipeline=x seed=1")}}));
    CHECK(bytes_of(scratch.file("p" + suffix)).find("pipeline=x seed=1") != std::string::npos);
  }
}

TEST_CASE("a wav file is the plain kind that every program opens", "[unit][audio]") {
  const SoundScratch scratch;
  const std::string path = scratch.file("plain.wav");
  write_audio(path, {tone(22050, 1, 0.2)}, Params({{"provenance", std::string("made by a test")}}));
  std::ifstream file(path, std::ios::binary);
  std::string head(44, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  CHECK(head.substr(0, 4) == "RIFF");
  CHECK(head.substr(8, 8) == "WAVEfmt ");
  CHECK(head.substr(20, 2) == std::string("\1\0", 2));  // integer PCM, not the extensible header
}

TEST_CASE("long files come in bounded chunks", "[unit][audio]") {
  const SoundScratch scratch;
  write_audio(scratch.file("a.wav"), {tone(8000, 1, 10.25)});
  CHECK(read_audio(scratch.file("a.wav")).n_chunks == 11);
  CHECK(read_audio(scratch.file("a.wav"), Params({{"chunk_s", 0.5}})).n_chunks == 21);
}

TEST_CASE("a cut wav or flac file is read as far as it goes, and named", "[unit][audio]") {
  const SoundScratch scratch;
  for (const std::string suffix : {".wav", ".flac"}) {
    INFO(suffix);
    write_audio(scratch.file("whole" + suffix), {tone(16000, 1, 3.0)});
    const std::string bytes = bytes_of(scratch.file("whole" + suffix));
    const std::string cut = scratch.write("cut" + suffix, bytes.substr(0, bytes.size() / 2));
    const Heard heard = read_audio(cut);
    CHECK(heard.truncated == 1);
    CHECK(heard.all.n_frames() > 16000);
    CHECK(heard.all.n_frames() < 32000);
    const Error error = error_of([&] {
      StageHarness harness(audio_stage("audio/read"), Params({{"path", cut}, {"on_truncated", std::string("error")}}));
      harness.run();
    });
    CHECK(error.code() == ErrorCode::format);
    CHECK(error.message().find("truncated") != std::string::npos);
  }
}

TEST_CASE("files that are not audio are refused by name before anything runs", "[unit][audio]") {
  const SoundScratch scratch;
  const auto probe = [](const std::string& path) {
    return error_of([&] { StageHarness(audio_stage("audio/read"), Params({{"path", path}})); });
  };
  CHECK(probe(scratch.write("empty.wav", "")).code() == ErrorCode::format);
  CHECK(probe(scratch.write("text.wav", std::string(5000, 'x'))).code() == ErrorCode::format);
  CHECK(probe(scratch.write("head.wav", "RIFF")).code() == ErrorCode::format);
  CHECK(probe(scratch.write("list.m3u8", "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")).code() == ErrorCode::format);
  CHECK(probe(scratch.file("absent.wav")).code() == ErrorCode::config);
  CHECK(probe(std::filesystem::temp_directory_path().string()).code() == ErrorCode::config);
  write_audio(scratch.file("nothing.wav"), {tone(16000, 1, 0.0)});
  const Error error = error_of([&] { read_audio(scratch.file("nothing.wav")); });
  CHECK(error.code() == ErrorCode::format);
}

TEST_CASE("a file appears only when it is whole", "[unit][audio]") {
  const SoundScratch scratch;
  for (const std::string suffix : {".wav", ".mp3", ".raw"}) {
    {
      HarnessOptions options;
      options.inputs["audio"] = pcm(16000, 1);
      StageHarness harness(audio_stage("audio/write"), Params({{"path", scratch.file("a" + suffix)}}), options);
      harness.feed("audio", tone(16000, 1, 1.0));
      CHECK(harness.run() == StepStatus::need_input);
      CHECK_FALSE(std::filesystem::exists(scratch.file("a" + suffix)));  // it has no name yet
    }
    CHECK(scratch.n_files() == 0);
  }
}

TEST_CASE("what cannot be written is an error that says why", "[unit][audio]") {
  const SoundScratch scratch;
  const AudioChunk sound = tone(16000, 1, 0.1);
  const auto write = [&](const std::string& path, Params params = {}) {
    return error_of([&] { write_audio(path, {sound}, params); });
  };
  CHECK(write(scratch.file("a.xyz")).code() == ErrorCode::config);
  CHECK(write("/nowhere/at/all/a.wav").code() == ErrorCode::config);
  CHECK(write(scratch.file("a.flac"), Params({{"bits", std::int64_t{32}}})).code() == ErrorCode::config);
  std::vector<Diagnostic> found;
  audio_stage("audio/write")
      .validate(with_defaults(audio_stage("audio/write"), Params({{"bits", std::int64_t{17}}})), found);
  CHECK(found.size() == 1);
}

TEST_CASE("a disk that is full is a resource error and leaves nothing", "[unit][audio]") {
  // A limit on the size of files stands for the full disk.
  const SoundScratch scratch;
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 20000;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  std::vector<std::pair<std::string, ErrorCode>> codes;
  for (const std::string suffix : {".wav", ".flac", ".mp3", ".ogg", ".raw"}) {
    AudioChunk noise = tone(48000, 2, 20.0);
    std::uint32_t random = 1;
    for (float& x : noise.samples)
      x = static_cast<float>((random = random * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f;
    try {
      write_audio(scratch.file("a" + suffix), {noise});
      codes.emplace_back(suffix, ErrorCode::internal);
    } catch (const Error& error) {
      codes.emplace_back(suffix, error.code());
    }
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  for (const auto& [suffix, code] : codes) {
    INFO(suffix);
    CHECK(code == ErrorCode::resource);
  }
  CHECK(scratch.n_files() == 0);
}

TEST_CASE("every truncation and many corruptions of small files end well", "[unit][audio]") {
  const SoundScratch scratch;
  for (const std::string suffix : {".wav", ".flac", ".mp3", ".opus", ".m4a"}) {
    write_audio(scratch.file("a" + suffix), {tone(16000, 1, suffix == ".opus" ? 2.5 : 0.12)});
    const std::string whole = bytes_of(scratch.file("a" + suffix));
    const std::size_t step = std::max<std::size_t>(1, whole.size() / 60);
    std::size_t n_read = 0, n_refused = 0;
    for (std::size_t i = 0; i < whole.size(); i += step) {
      for (const bool cut : {true, false}) {
        std::string bytes = cut ? whole.substr(0, i) : whole;
        if (!cut) bytes[i] = static_cast<char>(bytes[i] ^ 0x55);
        const std::string path = scratch.write("b" + suffix, bytes);
        try {
          const auto source = audio::open_audio(path, {});
          std::vector<float> samples;
          while (source->read(4096, samples) == audio::AudioSource::Status::more) REQUIRE(samples.size() < 10000000);
          ++n_read;
        } catch (const Error& error) {
          REQUIRE((error.code() == ErrorCode::format || error.code() == ErrorCode::config));
          ++n_refused;
        }
      }
    }
    INFO(suffix << " " << n_read << " read, " << n_refused << " refused");
    CHECK(n_refused > 0);
    CHECK(n_read > 0);
  }
}
