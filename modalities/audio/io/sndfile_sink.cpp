// wav and flac. WAV files of 4 GiB and more become RF64 by themselves.
#include <fmt/format.h>
#include <sndfile.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <vector>

#include "io/audio_sink.h"
#include "io/output_file.h"
#include "morph/error.h"

namespace morph::audio {
namespace {

struct SndfileCloser {
  void operator()(SNDFILE* file) const { sf_close(file); }
};

class SndfileSink final : public AudioSink {
 public:
  SndfileSink(const std::string& path, const SinkOptions& options, bool flac)
      : path_(path), options_(options), file_(path) {
    SF_INFO info{};
    info.samplerate = options.rate_hz;
    info.channels = options.channels;
    const int subtype = options.bits == 16 ? SF_FORMAT_PCM_16 : options.bits == 24 ? SF_FORMAT_PCM_24 : SF_FORMAT_FLOAT;
    info.format = (flac ? SF_FORMAT_FLAC : SF_FORMAT_RF64) | subtype;
    if (sf_format_check(&info) == 0)
      throw Error(ErrorCode::config, path,
                  fmt::format("the format cannot hold {} channels of {} bit at {} Hz; choose another suffix or bits",
                              options.channels, options.bits, options.rate_hz));
    errno = 0;
    sound_.reset(sf_open_fd(file_.descriptor(), SFM_WRITE, &info, SF_FALSE));
    if (!sound_)
      file_.fail(fmt::format("the file cannot be begun: {}", sf_strerror(nullptr)), errno == 0 ? EIO : errno);
    if (!flac) sf_command(sound_.get(), SFC_RF64_AUTO_DOWNGRADE, nullptr, SF_TRUE);
    if (!options.provenance.empty()) sf_set_string(sound_.get(), SF_STR_COMMENT, options.provenance.c_str());
  }

  void write(std::span<const float> samples) override {
    const auto channels = static_cast<std::size_t>(options_.channels);
    const auto n_frames = static_cast<sf_count_t>(samples.size() / channels);
    errno = 0;
    sf_count_t n = 0;
    if (options_.bits == 16) {  // our own rounding: libsndfile scales by 32767, and a copy should be a copy
      shorts_.resize(samples.size());
      std::transform(samples.begin(), samples.end(), shorts_.begin(),
                     [](float x) { return static_cast<short>(scaled(x, 32768.0)); });
      n = sf_writef_short(sound_.get(), shorts_.data(), n_frames);
    } else if (options_.bits == 24) {
      ints_.resize(samples.size());
      std::transform(samples.begin(), samples.end(), ints_.begin(),
                     [](float x) { return static_cast<int>(scaled(x, 8388608.0)) * 256; });
      n = sf_writef_int(sound_.get(), ints_.data(), n_frames);
    } else {
      n = sf_writef_float(sound_.get(), samples.data(), n_frames);
    }
    if (n != n_frames) file_.fail("writing failed", errno == 0 ? ENOSPC : errno);
  }

  void finish() override {
    errno = 0;
    sf_write_sync(sound_.get());
    if (sf_error(sound_.get()) != SF_ERR_NO_ERROR) file_.fail("writing failed", errno == 0 ? ENOSPC : errno);
    if (sf_close(sound_.release()) != 0) file_.fail("writing failed", errno == 0 ? ENOSPC : errno);
    file_.finish();
  }

 private:
  static long scaled(float sample, double scale) {
    return std::isnan(sample) ? 0 : std::lrint(std::clamp(sample * scale, -scale, scale - 1.0));
  }
  std::string path_;
  SinkOptions options_;
  OutputFile file_;
  std::unique_ptr<SNDFILE, SndfileCloser> sound_;  // closed before file_
  std::vector<short> shorts_;
  std::vector<int> ints_;
};

}  // namespace

std::unique_ptr<AudioSink> open_sndfile_sink(const std::string& path, const SinkOptions& options) {
  const bool flac = path.size() >= 5 && (path.ends_with(".flac") || path.ends_with(".FLAC"));
  if (flac && options.bits == 32)
    throw Error(ErrorCode::config, path, "expected 16 or 24 bits for .flac, found 32; set bits to 24 or use .wav");
  return std::make_unique<SndfileSink>(path, options, flac);
}

}  // namespace morph::audio
