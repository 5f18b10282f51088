// text/read: a UTF-8 file, standard input or a literal as one text.
//
// Standard input is read a little at a time, so that a run which waits for it can be cancelled.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "exec/wire.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/regular_file.h"
#include "morph/text.h"
#include "utf8.h"

namespace morph::text {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 28;  ///< 256 MiB: beyond this it is not a prompt

constexpr int kWaitMs = 50;  ///< for standard input, before a cancel is looked for

struct ReadState final : StageState {
  explicit ReadState(bool live) : from_stdin(live) {}
  const bool from_stdin;
  std::string bytes;   ///< of standard input so far, then the text whose lines are sent
  std::size_t at = 0;  ///< of the next line
  bool read = false;

  std::vector<std::byte> save() const override {
    if (from_stdin && !read)
      throw Error(ErrorCode::pipeline, "text/read",
                  "standard input cannot be read again, so a run that reads it cannot be saved; give it a file");
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    writer.boolean(read);
    writer.string(std::string_view(bytes).substr(std::min(at, bytes.size())));
    return saved;
  }
  void restore(std::span<const std::byte> saved) override {
    wire::Reader reader(saved, "text/read");
    read = reader.boolean();
    bytes = reader.string();
    reader.expect_end();
  }
};

void append(std::string& bytes, const char* more, std::size_t n, const std::string& where) {
  bytes.append(more, n);
  if (bytes.size() > kMostBytes)
    throw Error(ErrorCode::resource, where, "expected at most 256 MiB of text, found more; split the file");
}

std::string load(const std::string& path) {
  if (const std::string other = other_than_file(path); !other.empty())
    throw Error(ErrorCode::config, path, "expected a text file, found " + other);
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw Error(ErrorCode::config, path, "expected a text file, found none that can be opened");
  std::string bytes;
  std::vector<char> block(1 << 16);
  while (stream.read(block.data(), static_cast<std::streamsize>(block.size())) || stream.gcount() > 0)
    append(bytes, block.data(), static_cast<std::size_t>(stream.gcount()), path);
  if (stream.bad()) throw Error(ErrorCode::resource, path, "reading failed before the end of the file");
  return bytes;
}

/// Takes what standard input has, waiting a moment for it; true at its end.
bool read_more(std::string& bytes) {
  const auto fail = [] {
    throw Error(ErrorCode::resource, "stdin", fmt::format("reading failed ({})", std::strerror(errno)));
  };
  pollfd asked{STDIN_FILENO, POLLIN, 0};
  const int ready = ::poll(&asked, 1, kWaitMs);
  if (ready < 0 && errno != EINTR) fail();
  if (ready <= 0) return false;
  std::vector<char> block(1 << 16);
  const ssize_t n = ::read(STDIN_FILENO, block.data(), block.size());
  if (n < 0 && errno != EINTR && errno != EAGAIN) fail();
  if (n > 0) append(bytes, block.data(), static_cast<std::size_t>(n), "stdin");
  return n == 0;
}

/// Takes a byte order mark off and refuses what is not UTF-8.
std::string checked(std::string bytes, const std::string& where) {
  const auto starts = [&](std::string_view mark) { return std::string_view(bytes).substr(0, mark.size()) == mark; };
  if (starts("\xFF\xFE") || starts("\xFE\xFF"))
    throw Error(ErrorCode::format, where, "expected UTF-8, found UTF-16; convert it with `iconv -f UTF-16 -t UTF-8`");
  if (starts("\xEF\xBB\xBF")) bytes.erase(0, 3);
  if (const auto fault = find_utf8_fault(bytes))
    throw Error(ErrorCode::format, where,
                fmt::format("expected UTF-8, found the byte 0x{:02X} in line {} (offset {}){}; convert it with "
                            "`iconv -f WINDOWS-1252 -t UTF-8` or what its encoding is",
                            static_cast<unsigned char>(bytes[fault->offset]), fault->line, fault->offset,
                            fault->incomplete ? ", inside a character that is cut off" : ""));
  if (bytes.find_first_not_of(" \t\r\n") == std::string::npos)
    throw Error(ErrorCode::format, where, "expected text, found none: it is empty or only white space");
  return bytes;
}

class Read final : public SimpleStage<ReadState> {
 public:
  Read(std::string path, std::optional<std::string> literal, bool lines)
      : path_(std::move(path)), literal_(std::move(literal)), lines_(lines) {}

  std::unique_ptr<StageState> open(const OpenContext&) const override {
    return std::make_unique<ReadState>(from_stdin());
  }

  StepStatus step_one(ReadState& state, StageIo& io) const override {
    if (state.read) return send_lines(state, io);
    if (io.space(0) == 0) return StepStatus::output_full;
    if (from_stdin() && !read_more(state.bytes)) return StepStatus::ready;
    state.read = true;
    state.bytes = literal_       ? checked(*literal_, "text")
                  : from_stdin() ? checked(std::move(state.bytes), "stdin")
                                 : checked(load(path_), path_);
    if (lines_) return send_lines(state, io);
    send(io, std::exchange(state.bytes, {}));
    return StepStatus::done;
  }

 private:
  bool from_stdin() const { return !literal_ && (path_ == "-" || path_ == "/dev/stdin"); }

  /// As many lines as there is room for: the reader may be a slow voice, and a line is small beside its packet.
  static StepStatus send_lines(ReadState& state, StageIo& io) {
    while (state.at < state.bytes.size()) {
      if (io.space(0) == 0) return StepStatus::output_full;
      if (io.cancelled()) return StepStatus::done;
      const std::size_t end = std::min(state.bytes.find('\n', state.at), state.bytes.size());
      std::string line = state.bytes.substr(state.at, end - state.at);
      state.at = end + 1;
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (line.find_first_not_of(" \t") != std::string::npos) send(io, std::move(line));
    }
    return StepStatus::done;
  }

  static void send(StageIo& io, std::string utf8) {
    auto value = std::make_shared<Text>();
    value->utf8 = std::move(utf8);
    io.push(0, Packet::data<Text>(std::move(value)));
  }

  std::string path_;
  std::optional<std::string> literal_;
  bool lines_;
};

}  // namespace

void register_read(Registry& registry) {
  StageSpec spec;
  spec.name = "text/read";
  spec.help = "Reads UTF-8 text from a file, standard input (\"-\") or a literal.";
  spec.outputs = {{"text", {FormatPattern{"text/plain", {}}}, "the text, as one packet (or one per line)", false}};
  spec.params = {
      {.name = "path", .type = ParamType::path, .default_value = {}, .help = "file to read; - is standard input"},
      {.name = "text", .type = ParamType::string, .default_value = {}, .help = "the text itself, instead of a file"},
      {.name = "lines",
       .type = ParamType::boolean,
       .default_value = false,
       .help = "send every line as a text of its own"}};
  spec.load = StageLoad::blocking;
  spec.source_of = "text";
  spec.checkpointable = true;
  spec.suffixes = {".txt", ".md"};
  spec.validate = [](const Params& params, std::vector<Diagnostic>& found) {
    if (params.has("path") == params.has("text"))
      found.push_back({Diagnostic::Severity::error, ErrorCode::config, "text/read",
                       "expected either `path` or `text`, found both or neither"});
  };
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const Params& params = context.params;
    std::optional<std::string> literal;
    if (params.has("text")) literal = params.get_string("text");
    return std::make_shared<const Read>(params.has("path") ? params.get_string("path") : "", literal,
                                        params.get_bool("lines"));
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::text
