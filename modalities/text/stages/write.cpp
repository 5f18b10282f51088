// text/write: a file (written beside itself and renamed when whole) or standard output as it comes.
//
// On standard output only what will not change any more is printed: the stable part of a turn that is still spoken, the
// pieces of an answer; a turn ends with a new line.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <utility>

#include "exec/wire.h"
#include "io/text_document.h"
#include "morph/error.h"
#include "morph/message.h"
#include "morph/output_file.h"
#include "morph/registry.h"
#include "morph/text.h"

namespace morph::text {
namespace {

/// A file is written when the text is whole, so what was collected is all there is to save. What went to standard
/// output cannot be taken back by a run that goes on from a point before it.
struct WriteState final : StageState {
  explicit WriteState(bool prints) : to_stdout(prints) {}
  const bool to_stdout;
  TextDocument document;
  std::string printed;  ///< of the turn that is still spoken
  bool mid_line = false;
  bool in_answer = false;
  void flush(std::uint64_t epoch) override {
    document.flush(epoch);
    if (in_answer) std::fputc('\n', stdout);
    in_answer = mid_line = false;
    printed.clear();
  }
  std::vector<std::byte> save() const override {
    if (to_stdout)
      throw Error(ErrorCode::pipeline, "text/write",
                  "what was printed cannot be taken back, so a run that prints cannot be saved; write to a file");
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    document.save(writer);
    return saved;
  }
  void restore(std::span<const std::byte> saved) override {
    wire::Reader reader(saved, "text/write");
    document.restore(reader);
    reader.expect_end();
  }
};

/// A terminal gets text and nothing that would drive it; a file or a pipe gets what there is.
void print(std::string_view text) {
  if (text.empty()) return;
  const std::string shown = ::isatty(STDOUT_FILENO) != 0 ? shown_text(text, true) : std::string();
  const std::string_view bytes = shown.empty() ? text : std::string_view(shown);
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() || std::fflush(stdout) != 0)
    throw Error(ErrorCode::resource, "stdout", fmt::format("writing failed ({})", std::strerror(errno)));
}

class Write final : public SimpleStage<WriteState> {
 public:
  Write(std::string path, std::string format, std::string provenance)
      : path_(std::move(path)), format_(std::move(format)), provenance_(std::move(provenance)) {}

  std::unique_ptr<StageState> open(const OpenContext&) const override {
    return std::make_unique<WriteState>(path_ == "-");
  }

  StepStatus step_one(WriteState& state, StageIo& io) const override {
    const bool streams = path_ == "-" && format_ == "plain";
    while (io.available(0) > 0) {
      const Packet packet = io.take(0);
      if (streams)
        stream(state, packet.as<Text>());
      else
        state.document.add(packet);
    }
    if (!io.ended(0)) return StepStatus::need_input;
    if (streams) {
      if (state.mid_line) print("\n");
      return StepStatus::done;
    }
    const std::string bytes = render(state.document);
    if (path_ == "-") {
      print(bytes);
    } else {
      OutputFile file(path_);
      file.write(std::as_bytes(std::span(bytes)));
      file.finish();
    }
    return StepStatus::done;
  }

 private:
  std::string render(const TextDocument& document) const {
    if (format_ == "json") return document.json(provenance_);
    return format_ == "plain" ? document.plain() : document.subtitles(format_);
  }

  static void stream(WriteState& state, const Text& text) {
    if (text.answer_end > 0 || text.last_of_answer) {
      print(text.utf8);
      if (!text.utf8.empty()) state.mid_line = text.utf8.back() != '\n';
      state.in_answer = !text.last_of_answer && state.mid_line;
      if (text.last_of_answer && state.mid_line) {
        print("\n");
        state.mid_line = false;
      }
      return;
    }
    const bool whole = text.turn_state == TurnState::final;
    std::string_view known(text.utf8);
    if (!whole) known = known.substr(0, std::min(text.stable_bytes, known.size()));
    if (known.substr(0, state.printed.size()) == state.printed) {
      print(known.substr(state.printed.size()));
    } else if (whole) {  // what was called stable did change: print the turn again rather than a mixture
      print("\n" + text.utf8);
    } else {
      return;
    }
    state.printed = std::string(known);
    state.mid_line = !state.printed.empty() && state.printed.back() != '\n';
    if (!whole) return;
    if (state.mid_line) print("\n");
    state.mid_line = false;
    state.printed.clear();
  }

  std::string path_, format_, provenance_;
};

std::string format_for(const std::string& path, const std::string& asked) {
  if (asked != "auto") return asked;
  const std::string suffix = std::filesystem::path(path).extension().string();
  for (const std::string_view known : {".json", ".srt", ".vtt", ".ass", ".tsv"})
    if (suffix == known) return suffix.substr(1);
  return "plain";
}

}  // namespace

void register_write(Registry& registry) {
  StageSpec spec;
  spec.name = "text/write";
  spec.help = "Writes text to a file or, as it comes, to standard output (\"-\").";
  spec.inputs = {
      {"text", {FormatPattern{"text/plain", {}}, FormatPattern{"text/turns", {}}}, "what is written", false}};
  spec.params = {{.name = "path",
                  .type = ParamType::path,
                  .default_value = std::string("-"),
                  .help = "file; - is standard output"},
                 {.name = "format",
                  .type = ParamType::string,
                  .default_value = std::string("auto"),
                  .help = "auto: by the file's suffix; json holds spans, boxes and language",
                  .choices = {"auto", "plain", "json", "srt", "vtt", "ass", "tsv"}},
                 {.name = "provenance",
                  .type = ParamType::string,
                  .default_value = {},
                  .help = "how it was made, kept in JSON output"}};
  spec.load = StageLoad::blocking;
  spec.sink_of = "text";
  spec.checkpointable = true;
  spec.suffixes = {".txt", ".md", ".json", ".srt", ".vtt", ".ass", ".tsv"};
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const Params& params = context.params;
    const std::string& path = params.get_string("path");
    return std::make_shared<const Write>(path, format_for(path, params.get_string("format")),
                                         params.has("provenance") ? params.get_string("provenance") : "");
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::text
