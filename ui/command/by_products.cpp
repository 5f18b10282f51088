// By-products of a run. See by_products.h.
#include "by_products.h"

#include <fmt/format.h>

#include <chrono>

#include "morph/message.h"
#include "morph/text.h"

namespace morph::command {
namespace {

void print(const std::string& name, std::string_view text) {
  if (text.find_first_not_of(" \n") != std::string_view::npos)
    write_message(fmt::format("{}: {}\n", name, shown_text(text, true)));
}

/// Final texts are whole turns or pieces of an answer; a flush or a revise means that the pieces so far were in vain.
void read_all(Run& run, const std::string& name) {
  std::string answer;
  for (;;) {
    const std::optional<Packet> packet = run.read(name, std::chrono::milliseconds(200));
    if (!packet) {
      const RunState state = run.state();
      if (state != RunState::running && state != RunState::paused && state != RunState::idle) break;
      continue;
    }
    if (packet->ends_stream()) break;
    if (packet->kind == PacketKind::flush || packet->kind == PacketKind::revise) answer.clear();
    if (packet->kind == PacketKind::flush) continue;
    const Text& text = packet->as<Text>();
    if (text.turn_state != TurnState::final) continue;
    const bool is_piece = text.answer_end > 0 || text.last_of_answer;
    answer += text.utf8;
    if (is_piece && !text.last_of_answer) continue;
    print(name, answer);
    answer.clear();
  }
  print(name, answer);
}

}  // namespace

ByProducts::ByProducts(Run& run, const std::vector<std::string>& outputs) {
  for (const std::string& name : outputs) readers_.emplace_back([&run, name] { read_all(run, name); });
}

ByProducts::~ByProducts() {
  for (std::thread& reader : readers_) reader.join();
}

}  // namespace morph::command
