// Raw samples or a WAV stream from a descriptor: a microphone's pipe, or a headerless file.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "io/byte_input.h"
#include "io/sources.h"
#include "io/wav_header.h"
#include "morph/error.h"

namespace morph::audio {
namespace {

constexpr int kPatienceMs = 100;
constexpr std::size_t kMaxHeader = 2u << 20;

class StreamSource final : public AudioSource {
 public:
  StreamSource(int descriptor, bool owned, std::string where, const std::optional<RawFormat>& raw, bool live)
      : descriptor_(descriptor), owned_(owned), where_(std::move(where)) {
    properties_.live = live;
    if (raw)
      set_format(*raw);
    else
      read_header();
    struct stat status {};
    if (raw && ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode))
      properties_.n_frames = status.st_size / static_cast<std::int64_t>(frame_bytes_);
  }
  ~StreamSource() override {
    if (owned_) ::close(descriptor_);
  }

  const AudioProperties& properties() const override { return properties_; }

  Status read(std::size_t max_frames, std::vector<float>& out) override {
    const std::size_t wanted = max_frames * frame_bytes_;
    while (!ended_ && held_.size() < wanted) {
      const ReadStatus status = read_some(descriptor_, wanted - held_.size(), kPatienceMs, held_);
      if (status == ReadStatus::waiting) return Status::waiting;
      if (status == ReadStatus::end) ended_ = true;
      limit_to_data();
    }
    const std::size_t n = std::min(wanted, held_.size() / frame_bytes_ * frame_bytes_);
    decode_samples({held_.data(), n}, format_.encoding, out);
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(n));
    n_bytes_ += n;
    if (!ended_ || held_.size() >= frame_bytes_) return Status::more;
    if (data_bytes_ && n_bytes_ < *data_bytes_)
      fault_ = fmt::format("the header promises {} bytes of samples, {} came", *data_bytes_, n_bytes_);
    else if (!held_.empty())
      fault_ = fmt::format("{} bytes of an incomplete frame at the end", held_.size());
    return Status::end;
  }

  std::string fault() const override { return fault_; }

 private:
  void set_format(const RawFormat& format) {
    format_ = format;
    properties_.rate_hz = format.rate_hz;
    properties_.channels = format.channels;
    frame_bytes_ = bytes_per_sample(format.encoding) * static_cast<std::size_t>(format.channels);
  }

  void read_header() {
    for (;;) {
      if (const std::optional<WavHeader> header = parse_wav_header(held_, where_)) {
        if (!header->plain)
          throw Error(
              ErrorCode::format, where_,
              "expected 8, 16, 24, 32 bit or float samples in a WAV stream, found another encoding; decode it first");
        set_format(header->format);
        data_bytes_ = header->data_bytes;
        if (data_bytes_) properties_.n_frames = static_cast<std::int64_t>(*data_bytes_ / frame_bytes_);
        held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(header->data_offset));
        limit_to_data();
        return;
      }
      if (held_.size() > kMaxHeader) throw Error(ErrorCode::format, where_, "a WAV header of more than 2 MiB");
      const ReadStatus status = read_some(descriptor_, 4096, kPatienceMs, held_);
      if (status == ReadStatus::end)
        throw Error(ErrorCode::format, where_,
                    held_.empty() ? "expected audio, found an empty stream" : "the stream ends inside its WAV header");
    }
  }

  /// What follows the samples in a WAV file is not audio.
  void limit_to_data() {
    if (!data_bytes_) return;
    const std::uint64_t left = *data_bytes_ - std::min(*data_bytes_, n_bytes_);
    if (held_.size() < left) return;
    held_.resize(static_cast<std::size_t>(left));
    ended_ = true;
  }

  int descriptor_;
  bool owned_, ended_ = false;
  std::string where_, fault_;
  RawFormat format_;
  AudioProperties properties_;
  std::size_t frame_bytes_ = 2;
  std::optional<std::uint64_t> data_bytes_;
  std::uint64_t n_bytes_ = 0;
  std::vector<std::byte> held_;
};

}  // namespace

std::unique_ptr<AudioSource> open_stream(int descriptor, bool owned, const std::string& where,
                                         const std::optional<RawFormat>& raw, bool live) {
  return std::make_unique<StreamSource>(descriptor, owned, where, raw, live);
}

}  // namespace morph::audio
