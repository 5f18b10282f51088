// Everything FFmpeg decodes: mp3, m4a, opus, audio tracks of videos. Playlists and other formats that open further
// files are not on the list of formats, and only the file protocol is, so a hostile file reaches nothing but itself.
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
}
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "io/ffmpeg_error.h"
#include "io/sources.h"
#include "morph/error.h"

namespace morph::audio {
namespace {

constexpr const char* kFormats =
    "mp3,aac,mov,mp4,m4a,3gp,matroska,webm,ogg,flac,wav,w64,aiff,au,caf,avi,asf,mpegts,mpeg,flv,amr,amrnb,amrwb,wv,ape,"
    "tta,"
    "ac3,eac3,dts,mpc,mpc8,loas,gsm,tak,oma,xwma,rm,dsf,iff,voc";

struct FormatCloser {
  void operator()(AVFormatContext* format) const { avformat_close_input(&format); }
};
struct CodecCloser {
  void operator()(AVCodecContext* codec) const { avcodec_free_context(&codec); }
};
struct SwrCloser {
  void operator()(SwrContext* swr) const { swr_free(&swr); }
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

class FfmpegSource final : public AudioSource {
 public:
  FfmpegSource(std::string path, int track, ByteReader reader) : path_(std::move(path)), reader_(std::move(reader)) {
    av_log_set_level(AV_LOG_QUIET);  // what is wrong is said in our errors
    open_format();
    open_codec(track);
  }

  const AudioProperties& properties() const override { return properties_; }

  Status read(std::size_t max_frames, std::vector<float>& out) override {
    const std::size_t wanted = max_frames * static_cast<std::size_t>(properties_.channels);
    while (decoded_.size() < wanted && !ended_) decode_more();
    const std::size_t n = std::min(wanted, decoded_.size());
    out.insert(out.end(), decoded_.begin(), decoded_.begin() + static_cast<std::ptrdiff_t>(n));
    decoded_.erase(decoded_.begin(), decoded_.begin() + static_cast<std::ptrdiff_t>(n));
    if (!ended_ || !decoded_.empty()) return Status::more;
    judge_length();
    return Status::end;
  }

  std::string fault() const override { return fault_; }

 private:
  static int read_packet(void* self, std::uint8_t* buffer, int size) {
    const std::size_t n = static_cast<FfmpegSource*>(self)->reader_(buffer, static_cast<std::size_t>(size));
    return n == 0 ? AVERROR_EOF : static_cast<int>(n);
  }

  void open_format() {
    AVFormatContext* format = avformat_alloc_context();
    if (format == nullptr) throw Error(ErrorCode::resource, path_, "out of memory");
    if (reader_) {
      constexpr int kBuffer = 32 << 10;
      io_.reset(avio_alloc_context(static_cast<unsigned char*>(av_malloc(kBuffer)), kBuffer, 0, this, read_packet,
                                   nullptr, nullptr));
      format->pb = io_.get();
    }
    AVDictionary* options = nullptr;
    av_dict_set(&options, "protocol_whitelist", "file", 0);
    av_dict_set(&options, "format_whitelist", kFormats, 0);
    // "file:" keeps a path with a colon from being taken for a protocol.
    const std::string url = reader_ ? path_ : "file:" + path_;
    const int error = avformat_open_input(&format, url.c_str(), nullptr, &options);  // frees `format` on failure
    av_dict_free(&options);
    if (error < 0)
      throw Error(ErrorCode::format, path_,
                  fmt::format("expected audio or video that can be decoded, found none ({}); raw samples need the "
                              "parameters encoding, rate and channels",
                              message_of(error)));
    format_.reset(format);
    if (const int found = avformat_find_stream_info(format, nullptr); found < 0)
      throw Error(ErrorCode::format, path_, fmt::format("its streams cannot be read: {}", message_of(found)));
  }

  int choose_stream(int track) const {
    if (track < 0) return av_find_best_stream(format_.get(), AVMEDIA_TYPE_AUDIO, -1, -1, nullptr, 0);
    int n_audio = 0;
    for (unsigned i = 0; i < format_->nb_streams; ++i)
      if (format_->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO && n_audio++ == track)
        return static_cast<int>(i);
    throw Error(ErrorCode::config, path_, fmt::format("audio track {} was asked for; it has {}", track, n_audio));
  }

  void open_codec(int track) {
    stream_index_ = choose_stream(track);
    if (stream_index_ < 0)
      throw Error(ErrorCode::format, path_, "expected an audio track, found none; choose a file with sound");
    const AVCodecParameters* parameters = stream()->codecpar;
    const AVCodec* decoder = avcodec_find_decoder(parameters->codec_id);
    if (decoder == nullptr)
      throw Error(
          ErrorCode::format, path_,
          fmt::format("no decoder for its audio ({}); convert it first", avcodec_get_name(parameters->codec_id)));
    codec_.reset(avcodec_alloc_context3(decoder));
    codec_->thread_count = 1;
    codec_->pkt_timebase = stream()->time_base;
    int error = avcodec_parameters_to_context(codec_.get(), parameters);
    if (error >= 0) error = avcodec_open2(codec_.get(), decoder, nullptr);
    if (error < 0)
      throw Error(ErrorCode::format, path_, fmt::format("its audio cannot be decoded: {}", message_of(error)));
    properties_.rate_hz = codec_->sample_rate;
    properties_.channels = codec_->ch_layout.nb_channels;
    if (properties_.rate_hz <= 0 || properties_.channels <= 0 || properties_.channels > 1024)
      throw Error(ErrorCode::format, path_, "expected an audio track with a rate and channels, found neither");
    frame_.reset(av_frame_alloc());
    packet_.reset(av_packet_alloc());
    for (unsigned i = 0; i < format_->nb_streams; ++i)
      if (static_cast<int>(i) != stream_index_) format_->streams[i]->discard = AVDISCARD_ALL;
  }

  void decode_more() {
    const int got = avcodec_receive_frame(codec_.get(), frame_.get());
    if (got >= 0) {
      take_frame();
      av_frame_unref(frame_.get());
      return;
    }
    if (got == AVERROR_EOF) {
      ended_ = true;
      return;
    }
    if (got != AVERROR(EAGAIN)) return note_damage(got);
    const int read = av_read_frame(format_.get(), packet_.get());
    if (read < 0) {
      if (read != AVERROR_EOF && fault_.empty()) fault_ = message_of(read);
      avcodec_send_packet(codec_.get(), nullptr);
      return;
    }
    int sent = 0;
    if (packet_->stream_index == stream_index_) sent = avcodec_send_packet(codec_.get(), packet_.get());
    av_packet_unref(packet_.get());
    if (sent < 0 && sent != AVERROR(EAGAIN) && sent != AVERROR_EOF) note_damage(sent);
  }

  void note_damage(int error) {
    if (error != AVERROR_INVALIDDATA)
      throw Error(ErrorCode::format, path_, fmt::format("decoding failed: {}", message_of(error)));
    ++n_damaged_;
  }

  void take_frame() {
    if (frame_->nb_samples <= 0) return;
    const bool same = swr_ && frame_->format == swr_format_ && frame_->sample_rate == swr_rate_ &&
                      frame_->ch_layout.nb_channels == swr_channels_;
    if (!same) open_swr();
    const int room = swr_get_out_samples(swr_.get(), frame_->nb_samples);
    if (room <= 0) return;
    const std::size_t before = decoded_.size(), channels = static_cast<std::size_t>(properties_.channels);
    decoded_.resize(before + static_cast<std::size_t>(room) * channels);
    auto* data = reinterpret_cast<std::uint8_t*>(decoded_.data() + before);
    const int n = swr_convert(swr_.get(), &data, room, const_cast<const std::uint8_t**>(frame_->extended_data),
                              frame_->nb_samples);
    if (n < 0) throw Error(ErrorCode::format, path_, fmt::format("samples cannot be converted: {}", message_of(n)));
    decoded_.resize(before + static_cast<std::size_t>(n) * channels);
    n_frames_ += n;
  }

  /// To interleaved floats; rate and channels stay those that were announced, even when a stream changes them.
  void open_swr() {
    AVChannelLayout to{}, from{};
    const auto layout_of = [](AVChannelLayout& out, const AVChannelLayout& given, int channels) {
      if (given.order == AV_CHANNEL_ORDER_UNSPEC || given.nb_channels != channels)
        av_channel_layout_default(&out, channels);
      else
        av_channel_layout_copy(&out, &given);
    };
    layout_of(to, codec_->ch_layout, properties_.channels);
    layout_of(from, frame_->ch_layout, frame_->ch_layout.nb_channels);
    SwrContext* swr = nullptr;
    int error = swr_alloc_set_opts2(&swr, &to, AV_SAMPLE_FMT_FLT, properties_.rate_hz, &from,
                                    static_cast<AVSampleFormat>(frame_->format), frame_->sample_rate, 0, nullptr);
    swr_.reset(swr);
    if (error >= 0) error = swr_init(swr);
    av_channel_layout_uninit(&to);
    av_channel_layout_uninit(&from);
    if (error < 0)
      throw Error(ErrorCode::format, path_, fmt::format("samples cannot be converted: {}", message_of(error)));
    swr_format_ = frame_->format;
    swr_rate_ = frame_->sample_rate;
    swr_channels_ = frame_->ch_layout.nb_channels;
  }

  void judge_length() {
    if (n_damaged_ > 0 && fault_.empty()) fault_ = fmt::format("{} damaged packets were left out", n_damaged_);
    if (!fault_.empty() || format_->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE) return;
    const AVStream* audio = stream();
    if (audio->duration == AV_NOPTS_VALUE || audio->duration <= 0) return;
    const double promised = static_cast<double>(audio->duration) * av_q2d(audio->time_base);
    const double found = static_cast<double>(n_frames_) / properties_.rate_hz;
    if (promised > found + 0.5 && promised > found * 1.02)
      fault_ = fmt::format("the header promises {:.1f} s, {:.1f} s could be decoded", promised, found);
  }

  AVStream* stream() const { return format_->streams[stream_index_]; }

  std::string path_, fault_;
  ByteReader reader_;
  std::unique_ptr<AVIOContext, IoCloser> io_;  // outlives the format that reads through it
  std::unique_ptr<AVFormatContext, FormatCloser> format_;
  std::unique_ptr<AVCodecContext, CodecCloser> codec_;
  std::unique_ptr<SwrContext, SwrCloser> swr_;
  std::unique_ptr<AVFrame, FrameCloser> frame_;
  std::unique_ptr<AVPacket, PacketCloser> packet_;
  int stream_index_ = -1, swr_format_ = -1, swr_rate_ = 0, swr_channels_ = 0;
  AudioProperties properties_;
  std::vector<float> decoded_;
  std::int64_t n_frames_ = 0, n_damaged_ = 0;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<AudioSource> open_ffmpeg(const std::string& path, int track, ByteReader reader) {
  return std::make_unique<FfmpegSource>(path, track, std::move(reader));
}

}  // namespace morph::audio
