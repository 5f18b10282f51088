// Files that libsndfile reads. It shortens the length of a cut WAV file without a word, so the header is compared with
// the file's size here.
#include <fmt/format.h>
#include <sndfile.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

#include "io/sources.h"
#include "io/wav_header.h"
#include "morph/error.h"

namespace morph::audio {
namespace {

constexpr sf_count_t kUnknownFrames = std::numeric_limits<sf_count_t>::max() / 4;

struct SndfileCloser {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using SndfileHandle = std::unique_ptr<SNDFILE, SndfileCloser>;

/// What a WAV header promises beyond the file's end.
std::string missing_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> head(64 << 10);
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  const auto bytes = std::as_bytes(std::span(head.data(), static_cast<std::size_t>(file.gcount())));
  if (!looks_like_wav(bytes)) return "";
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  try {
    const std::optional<WavHeader> header = parse_wav_header(bytes, path);
    if (error || !header || !header->data_bytes || header->data_offset + *header->data_bytes <= size) return "";
    return fmt::format("the header promises {} bytes of samples, the file holds {}", *header->data_bytes,
                       size - header->data_offset);
  } catch (const Error&) {  // libsndfile has judged the header
    return "";
  }
}

class SndfileSource final : public AudioSource {
 public:
  SndfileSource(SndfileHandle file, const SF_INFO& info, std::string path)
      : file_(std::move(file)), path_(std::move(path)), fault_(missing_bytes(path_)) {
    properties_.rate_hz = info.samplerate;
    properties_.channels = info.channels;
    if (info.frames >= 0 && info.frames < kUnknownFrames) properties_.n_frames = info.frames;
  }

  const AudioProperties& properties() const override { return properties_; }

  Status read(std::size_t max_frames, std::vector<float>& out) override {
    const std::size_t before = out.size(), channels = static_cast<std::size_t>(properties_.channels);
    out.resize(before + max_frames * channels);
    const sf_count_t n = sf_readf_float(file_.get(), out.data() + before, static_cast<sf_count_t>(max_frames));
    out.resize(before + static_cast<std::size_t>(std::max<sf_count_t>(n, 0)) * channels);
    n_frames_ += std::max<sf_count_t>(n, 0);
    if (n == static_cast<sf_count_t>(max_frames)) return Status::more;
    if (sf_error(file_.get()) != SF_ERR_NO_ERROR && fault_.empty()) fault_ = sf_strerror(file_.get());
    if (properties_.n_frames > n_frames_ && fault_.empty())
      fault_ = fmt::format("the header promises {} frames, {} could be decoded", properties_.n_frames, n_frames_);
    return Status::end;
  }

  std::string fault() const override { return fault_; }

 private:
  SndfileHandle file_;
  std::string path_, fault_;
  AudioProperties properties_;
  std::int64_t n_frames_ = 0;
};

}  // namespace

std::unique_ptr<AudioSource> open_sndfile(const std::string& path) {
  SF_INFO info{};
  SndfileHandle file(sf_open(path.c_str(), SFM_READ, &info));
  if (file == nullptr || info.channels <= 0 || info.samplerate <= 0) return nullptr;
  return std::make_unique<SndfileSource>(std::move(file), info, path);
}

}  // namespace morph::audio
