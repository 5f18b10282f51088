// wav and flac. WAV is the plain kind that every program opens (not RF64 or the extensible header), so it ends at 4
// GiB. Bytes go through our own writer, because libsndfile does not report every failed write (the last block of a flac
// file on a full disk).
#include <fmt/format.h>
#include <sndfile.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "io/audio_sink.h"
#include "morph/error.h"
#include "morph/output_file.h"

namespace morph::audio {
namespace {

constexpr std::uint64_t kMostWavBytes = 0xFFF00000;  ///< leaves room for the header and the provenance

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
    info.format = (flac ? SF_FORMAT_FLAC : SF_FORMAT_WAV) | subtype;
    if (sf_format_check(&info) == 0)
      throw Error(ErrorCode::config, path,
                  fmt::format("the format cannot hold {} channels of {} bit at {} Hz; choose another suffix or bits",
                              options.channels, options.bits, options.rate_hz));
    SF_VIRTUAL_IO io{length, seek, read, write_bytes, tell};
    sound_.reset(sf_open_virtual(&io, SFM_WRITE, &info, this));
    check(sound_ != nullptr);
    if (!flac) bytes_left_ = kMostWavBytes;
    if (!options.provenance.empty()) sf_set_string(sound_.get(), SF_STR_COMMENT, options.provenance.c_str());
  }

  void write(std::span<const float> samples) override {
    const auto channels = static_cast<std::size_t>(options_.channels);
    const auto n_frames = static_cast<sf_count_t>(samples.size() / channels);
    const std::uint64_t n_bytes = samples.size() * static_cast<std::uint64_t>(options_.bits / 8);
    if (n_bytes > bytes_left_)
      throw Error(ErrorCode::resource, path_, "expected less than 4 GiB, which is all a WAV file can hold; use .flac");
    bytes_left_ -= n_bytes;
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
    check(n == n_frames);
  }

  void finish() override {
    check(sf_close(sound_.release()) == 0);
    file_.finish();
  }

 private:
  static SndfileSink& self(void* sink) { return *static_cast<SndfileSink*>(sink); }
  static sf_count_t length(void* sink) {
    const std::int64_t at = self(sink).file_.seek(0, SEEK_CUR), end = self(sink).file_.seek(0, SEEK_END);
    self(sink).file_.seek(at, SEEK_SET);
    return end;
  }
  static sf_count_t seek(sf_count_t offset, int whence, void* sink) { return self(sink).file_.seek(offset, whence); }
  static sf_count_t tell(void* sink) { return self(sink).file_.seek(0, SEEK_CUR); }
  static sf_count_t read(void* bytes, sf_count_t n, void* sink) {
    return std::max<ssize_t>(0, ::read(self(sink).file_.descriptor(), bytes, static_cast<std::size_t>(n)));
  }
  static sf_count_t write_bytes(const void* bytes, sf_count_t n, void* sink) {
    SndfileSink& ours = self(sink);
    const auto view = std::span(static_cast<const std::byte*>(bytes), static_cast<std::size_t>(n));
    const int error = write_all(ours.file_.descriptor(), view);
    if (error != 0 && ours.error_ == 0) ours.error_ = error;
    return error == 0 ? n : 0;
  }
  void check(bool fine) const {
    if (error_ != 0) file_.fail("writing failed", error_);
    if (!fine) throw Error(ErrorCode::resource, path_, fmt::format("writing failed: {}", sf_strerror(sound_.get())));
  }

  static long scaled(float sample, double scale) {
    return std::isnan(sample) ? 0 : std::lrint(std::clamp(sample * scale, -scale, scale - 1.0));
  }
  std::string path_;
  SinkOptions options_;
  OutputFile file_;
  std::uint64_t bytes_left_ = UINT64_MAX;
  int error_ = 0;                                  ///< of the first write that failed
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
