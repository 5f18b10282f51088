// mp3, opus, ogg (Vorbis) and m4a (AAC) by FFmpeg's encoders. A rate that a codec lacks is raised to the next one it
// has (a 22050 Hz voice in Opus becomes 24000 Hz), inside the file, where it is the codec's business.
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
}
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "io/audio_sink.h"
#include "io/ffmpeg_error.h"
#include "io/resampler.h"
#include "morph/error.h"
#include "morph/output_file.h"

namespace morph::audio {
namespace {

struct Kind {
  const char* suffix;
  const char* muxer;
  const char* encoder;
};
constexpr Kind kKinds[] = {{".mp3", "mp3", "libmp3lame"},
                           {".opus", "ogg", "libopus"},
                           {".ogg", "ogg", "libvorbis"},
                           {".oga", "ogg", "libvorbis"},
                           {".m4a", "ipod", "aac"}};

struct CodecCloser {
  void operator()(AVCodecContext* codec) const { avcodec_free_context(&codec); }
};
struct FormatCloser {
  void operator()(AVFormatContext* format) const { avformat_free_context(format); }
};
struct FrameCloser {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};
struct PacketCloser {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
struct IoCloser {
  void operator()(AVIOContext* io) const {
    av_freep(&io->buffer);
    avio_context_free(&io);
  }
};

const Kind& kind_of(const std::string& path) {
  std::string suffix = std::filesystem::path(path).extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const Kind& kind : kKinds)
    if (suffix == kind.suffix) return kind;
  throw Error(ErrorCode::internal, path, "no encoder for this suffix");
}

class FfmpegSink final : public AudioSink {
 public:
  FfmpegSink(const std::string& path, const SinkOptions& options) : path_(path), options_(options), file_(path) {
    av_log_set_level(AV_LOG_QUIET);
    const Kind& kind = kind_of(path);
    open_codec(kind);
    open_format(kind);
    if (codec_->sample_rate != options.rate_hz)
      resampler_.emplace(options.rate_hz, codec_->sample_rate, options.channels);
    frame_.reset(av_frame_alloc());
    packet_.reset(av_packet_alloc());
  }

  void write(std::span<const float> samples) override {
    if (resampler_)
      resampler_->process(samples, pending_);
    else
      pending_.insert(pending_.end(), samples.begin(), samples.end());
    encode_pending(false);
  }

  void finish() override {
    if (resampler_) resampler_->finish(pending_);
    encode_pending(true);
    check(avcodec_send_frame(codec_.get(), nullptr), "encoding failed");
    drain();
    check(av_write_trailer(format_.get()), "the file cannot be completed");
    avio_flush(io_.get());
    check(io_->error, "writing failed");
    file_.finish();
  }

 private:
  void open_codec(const Kind& kind) {
    const AVCodec* encoder = avcodec_find_encoder_by_name(kind.encoder);
    if (encoder == nullptr)
      throw Error(ErrorCode::config, path_,
                  fmt::format("this FFmpeg has no encoder {}; choose another suffix, such as .flac", kind.encoder));
    codec_.reset(avcodec_alloc_context3(encoder));
    codec_->thread_count = 1;
    codec_->sample_rate = options_.rate_hz;
    if (encoder->supported_samplerates != nullptr) codec_->sample_rate = nearest_rate(encoder->supported_samplerates);
    codec_->sample_fmt = AV_SAMPLE_FMT_FLTP;
    for (const AVSampleFormat* format = encoder->sample_fmts; format != nullptr && *format != AV_SAMPLE_FMT_NONE;
         ++format)
      if (*format == AV_SAMPLE_FMT_FLT) codec_->sample_fmt = AV_SAMPLE_FMT_FLT;
    av_channel_layout_default(&codec_->ch_layout, options_.channels);
    codec_->time_base = AVRational{1, codec_->sample_rate};
    if (options_.bitrate_kbps > 0) codec_->bit_rate = std::int64_t{options_.bitrate_kbps} * 1000;
    const AVOutputFormat* muxer = av_guess_format(kind.muxer, nullptr, nullptr);
    if (muxer != nullptr && (muxer->flags & AVFMT_GLOBALHEADER) != 0) codec_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (const int error = avcodec_open2(codec_.get(), encoder, nullptr); error < 0)
      throw Error(ErrorCode::config, path_,
                  fmt::format("{} cannot encode {} channels at {} Hz: {}; convert it or choose another suffix",
                              kind.encoder, options_.channels, options_.rate_hz, message_of(error)));
  }

  int nearest_rate(const int* rates) const {
    int best = 0;
    for (const int* rate = rates; *rate != 0; ++rate) {
      const bool enough = *rate >= options_.rate_hz, best_enough = best >= options_.rate_hz;
      if (best == 0 || (enough && (!best_enough || *rate < best)) || (!enough && !best_enough && *rate > best))
        best = *rate;
    }
    return best;
  }

  static int write_packet(void* self, std::uint8_t* bytes, int size) {
    const int error = write_all(static_cast<FfmpegSink*>(self)->file_.descriptor(),
                                std::as_bytes(std::span(bytes, static_cast<std::size_t>(size))));
    return error != 0 ? AVERROR(error) : size;
  }
  static std::int64_t seek(void* self, std::int64_t offset, int whence) {
    if ((whence & AVSEEK_SIZE) != 0) return AVERROR(ENOSYS);
    return static_cast<FfmpegSink*>(self)->file_.seek(offset, whence & ~AVSEEK_FORCE);
  }

  void open_format(const Kind& kind) {
    AVFormatContext* format = nullptr;
    check(avformat_alloc_output_context2(&format, nullptr, kind.muxer, nullptr), "no muxer");
    format_.reset(format);
    constexpr int kBuffer = 32 << 10;
    io_.reset(avio_alloc_context(static_cast<unsigned char*>(av_malloc(kBuffer)), kBuffer, 1, this, nullptr,
                                 write_packet, seek));
    format_->pb = io_.get();
    format_->flags |= AVFMT_FLAG_BITEXACT;  // same input, same bytes
    stream_ = avformat_new_stream(format_.get(), nullptr);
    check(avcodec_parameters_from_context(stream_->codecpar, codec_.get()), "no stream");
    stream_->time_base = codec_->time_base;
    if (!options_.provenance.empty()) {
      const bool per_stream = std::strcmp(kind.muxer, "ogg") == 0;
      av_dict_set(per_stream ? &stream_->metadata : &format_->metadata, "comment", options_.provenance.c_str(), 0);
    }
    check(avformat_write_header(format_.get(), nullptr), "the file cannot be begun");
  }

  void encode_pending(bool last) {
    const auto channels = static_cast<std::size_t>(options_.channels);
    const std::size_t frame_size = codec_->frame_size > 0 ? static_cast<std::size_t>(codec_->frame_size) : 1024;
    std::size_t at = 0;
    const std::size_t n_frames = pending_.size() / channels;
    while (n_frames - at >= frame_size || (last && at < n_frames)) {
      const std::size_t n = std::min(frame_size, n_frames - at);
      encode(pending_.data() + at * channels, n);
      at += n;
    }
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(at * channels));
  }

  void encode(const float* samples, std::size_t n) {
    const auto channels = static_cast<std::size_t>(options_.channels);
    av_frame_unref(frame_.get());
    frame_->nb_samples = static_cast<int>(n);
    frame_->format = codec_->sample_fmt;
    frame_->sample_rate = codec_->sample_rate;
    frame_->pts = n_encoded_;
    av_channel_layout_copy(&frame_->ch_layout, &codec_->ch_layout);
    check(av_frame_get_buffer(frame_.get(), 0), "out of memory");
    const auto limited = [](float x) { return std::clamp(x, -1.0f, 1.0f); };
    if (codec_->sample_fmt == AV_SAMPLE_FMT_FLT) {
      auto* out = reinterpret_cast<float*>(frame_->data[0]);
      std::transform(samples, samples + n * channels, out, limited);
    } else {
      for (std::size_t c = 0; c < channels; ++c) {
        auto* out = reinterpret_cast<float*>(frame_->extended_data[c]);
        for (std::size_t i = 0; i < n; ++i) out[i] = limited(samples[i * channels + c]);
      }
    }
    n_encoded_ += static_cast<std::int64_t>(n);
    check(avcodec_send_frame(codec_.get(), frame_.get()), "encoding failed");
    drain();
  }

  void drain() {
    for (;;) {
      const int got = avcodec_receive_packet(codec_.get(), packet_.get());
      if (got == AVERROR(EAGAIN) || got == AVERROR_EOF) return;
      check(got, "encoding failed");
      av_packet_rescale_ts(packet_.get(), codec_->time_base, stream_->time_base);
      packet_->stream_index = stream_->index;
      check(av_write_frame(format_.get(), packet_.get()), "writing failed");
      av_packet_unref(packet_.get());
      check(io_->error, "writing failed");
    }
  }

  void check(int result, const char* what) const {
    if (result >= 0) return;
    const int number = AVUNERROR(result);
    if (number == ENOSPC || number == EDQUOT || number == EFBIG) file_.fail(what, number);
    throw Error(ErrorCode::resource, path_, fmt::format("{}: {}", what, message_of(result)));
  }

  std::string path_;
  SinkOptions options_;
  OutputFile file_;
  std::unique_ptr<AVIOContext, IoCloser> io_;
  std::unique_ptr<AVFormatContext, FormatCloser> format_;
  std::unique_ptr<AVCodecContext, CodecCloser> codec_;
  AVStream* stream_ = nullptr;
  std::unique_ptr<AVFrame, FrameCloser> frame_;
  std::unique_ptr<AVPacket, PacketCloser> packet_;
  std::optional<Resampler> resampler_;
  std::vector<float> pending_;
  std::int64_t n_encoded_ = 0;
};

}  // namespace

std::unique_ptr<AudioSink> open_ffmpeg_sink(const std::string& path, const SinkOptions& options) {
  return std::make_unique<FfmpegSink>(path, options);
}

}  // namespace morph::audio
