// A plan for a terminal: a table of stages in the order of data, under each the links that leave it with their format,
// then the memory plan. At most 100 columns, unless names are longer; no colours, so that it can be kept and compared.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "graph/explain.h"
#include "graph/memory_plan.h"

namespace morph {
namespace {

constexpr std::size_t kWidth = 100;

std::string bytes_or_dash(std::uint64_t bytes) { return bytes == 0 ? "-" : to_bytes_text(bytes); }

struct Row {
  std::array<std::string, 7> cells;  ///< name, kind, device, threads, weights, session, scratch
  std::vector<std::string> links;
};

Row row_of(const Plan& plan, std::size_t index) {
  const PlanNode& node = plan.nodes[index];
  const Estimate& estimate = node.estimate;
  Row row;
  row.cells = {(node.inserted ? "+ " : "  ") + node.name,
               kind_of(node),
               node.spec == nullptr ? "" : node.device,
               threads_of(plan, node),
               bytes_or_dash(estimate.weights),
               bytes_or_dash(estimate.session),
               bytes_or_dash(estimate.scratch)};
  // One line per format and set of readers: a fan-out is one arrow with several heads.
  std::vector<std::pair<std::string, std::string>> arrows;
  for (const PlanLink& link : plan.links) {
    if (link.from_node != static_cast<int>(index)) continue;
    const PlanNode& reader = plan.nodes[static_cast<std::size_t>(link.to_node)];
    std::string what = to_string(link.format);
    if (node.outputs.size() > 1)
      what = port_name(node, false, link.from_port).substr(node.name.size() + 1) + ": " + what;
    std::string head = port_name(reader, true, link.to_port);
    if (link.policy != QueuePolicy::block) head += fmt::format(" [{}]", to_string(link.policy));
    if (link.queue != 8 && link.policy != QueuePolicy::latest) head += fmt::format(" [queue {}]", link.queue);
    if (link.delay) head += " [delay]";
    const auto same = std::find_if(arrows.begin(), arrows.end(), [&](const auto& each) { return each.first == what; });
    if (same == arrows.end())
      arrows.emplace_back(std::move(what), std::move(head));
    else
      same->second += ", " + head;
  }
  for (std::size_t i = 0; i < arrows.size(); ++i)
    row.links.push_back(
        fmt::format("    {} {} → {}", i + 1 == arrows.size() ? "└─" : "├─", arrows[i].first, arrows[i].second));
  return row;
}

std::string line_of(const std::array<std::string, 7>& cells, const std::array<std::size_t, 7>& widths) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i)
    line += i < 3 ? fmt::format("{:<{}}  ", cells[i], widths[i]) : fmt::format("{:>{}}  ", cells[i], widths[i]);
  return line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

std::string memory_text(const MemoryPlan& memory) {
  std::string text = "memory\n";
  const auto row = [&](const char* name, std::uint64_t bytes, const char* help) {
    if (bytes > 0) text += fmt::format("  {:<10} {:>9}  {}\n", name, to_bytes_text(bytes), help);
  };
  row("process", memory.process, "the program itself");
  row("libraries", memory.runtimes, "once per library");
  row("weights", memory.weights, "once per model");
  row("sessions", memory.sessions, "per run");
  row("scratch", memory.scratch, "while stepping");
  row("queues", memory.links, "packets waiting on links");
  row("loading", memory.load_peak, "more while loading, gone afterwards");
  for (const auto& [device, bytes] : memory.by_device) row(device.c_str(), bytes, "in the device's own memory");
  text += fmt::format("  {:<10} {:>9}  ", "peak", to_bytes_text(memory.total()));
  text += memory.budget == 0 ? "no limit known\n" : fmt::format("of {} allowed\n", to_bytes_text(memory.budget));
  row("held", memory.held, "of it, in memory already; the rest is planned");
  row("others", memory.others, "held or planned by other pipelines");
  row("idle", memory.others_idle, "of theirs, unused: goes when the room is needed");
  return text;
}

}  // namespace

std::string port_name(const PlanNode& node, bool input, int port) {
  if (node.spec == nullptr) return node.name;
  const std::vector<PortSpec>& ports = input ? node.spec->inputs : node.spec->outputs;
  return node.name + "." + ports[static_cast<std::size_t>(port)].name;
}

std::string threads_of(const Plan& plan, const PlanNode& node) {
  if (node.spec == nullptr) return "";
  if (node.spec->load == StageLoad::blocking) return "own";
  return node.spec->load == StageLoad::heavy ? fmt::format("{}", plan.n_threads) : "1";
}

std::string kind_of(const PlanNode& node) {
  if (node.app_feed) return "(fed by the program)";
  if (node.app_read) return "(read by the program)";
  return node.spec == nullptr ? "" : node.spec->name;
}

std::string modality_of(const Format& format) { return format.type.substr(0, format.type.find('/')); }

std::string explain_text(const Plan& plan) {
  std::vector<Row> rows;
  std::array<std::string, 7> header{"  stage", "type", "device", "threads", "weights", "session", "scratch"};
  std::array<std::size_t, 7> widths{};
  for (std::size_t i = 0; i < header.size(); ++i) widths[i] = header[i].size();
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
    rows.push_back(row_of(plan, i));
    for (std::size_t c = 0; c < widths.size(); ++c) widths[c] = std::max(widths[c], rows.back().cells[c].size());
  }
  const auto n_converters =
      std::count_if(plan.nodes.begin(), plan.nodes.end(), [](const PlanNode& node) { return node.inserted; });
  const auto n_stages = std::count_if(plan.nodes.begin(), plan.nodes.end(),
                                      [](const PlanNode& node) { return node.spec != nullptr && !node.inserted; });
  std::string text = fmt::format("{}: {} stage{}", plan.name, n_stages, n_stages == 1 ? "" : "s");
  if (n_converters > 0) text += fmt::format(" and {} converter{} (+)", n_converters, n_converters == 1 ? "" : "s");
  text += fmt::format(", {} thread{}\n", plan.n_threads, plan.n_threads == 1 ? "" : "s");
  if (!plan.source.help.empty()) text += plan.source.help + "\n";
  std::size_t width = 2 * (widths.size() - 1);
  for (const std::size_t each : widths) width += each;
  std::string rule;
  for (std::size_t i = 0; i < std::min(width, kWidth); ++i) rule += "─";
  text += "\n" + line_of(header, widths) + rule + "\n";
  for (const Row& row : rows) {
    text += line_of(row.cells, widths);
    for (const std::string& link : row.links) text += link + "\n";
  }
  text += rule + "\n" + memory_text(plan.memory);
  for (const std::string& name : plan.culled) text += fmt::format("left out: {} (nothing reads it)\n", name);
  for (const Diagnostic& note : plan.notes)
    if (note.severity == Diagnostic::Severity::warning)
      text += fmt::format("warning: {}: {}\n", note.where, note.message);
  return text;
}

}  // namespace morph
