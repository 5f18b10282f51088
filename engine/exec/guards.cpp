// Guards: see guards.h.
#include "exec/guards.h"

#include <fmt/format.h>

#include "morph/registry.h"

namespace morph::exec {

namespace {

std::string port_name(const GraphNode& node, std::size_t port) {
  return port < node.spec->outputs.size() ? node.spec->outputs[port].name : std::to_string(port);
}

void judge(const GraphNode& node, std::size_t port, const GuardReport& report, std::vector<std::string>& warnings) {
  constexpr std::uint64_t kFewestValues = 64;  // fewer say nothing
  if (report.n_values < kFewestValues) return;
  const std::string name = port_name(node, port);
  if (report.constant()) {
    warnings.push_back(
        fmt::format("port {}: all {} values are {}; the stage may not have worked", name, report.n_values, report.low));
  } else if (report.clipped()) {
    const double percent = 100.0 * static_cast<double>(report.n_clipped) / static_cast<double>(report.n_values);
    warnings.push_back(
        fmt::format("port {}: {:.1f}% of {} values are clipped; lower the level", name, percent, report.n_values));
  }
}

/// Streams that reach a sink or the application and hold nothing.
void judge_empty(const GraphNode& node, std::vector<std::string>& warnings) {
  for (std::size_t port = 0; port < node.out_links.size(); ++port) {
    if (node.out_links[port].empty() || node.distance != 1) continue;
    if (node.io.outputs[port].next_sequence == 0)
      warnings.push_back(fmt::format("port {}: the stream ended without a single packet", port_name(node, port)));
  }
}

}  // namespace

GuardFindings guard_step(const Registry* registry, GraphNode& node, bool done) {
  GuardFindings findings;
  if (registry == nullptr) return findings;
  for (const StepIo::Sent& sent : node.io.sent) {
    const auto port = static_cast<std::size_t>(sent.port);
    GuardReport& report = node.guards[port];
    if (sent.packet.kind == PacketKind::flush) {
      report = GuardReport{};  // what was cut off is not judged
      continue;
    }
    const Payload* payload = sent.packet.payload.get();
    if (payload == nullptr || sent.packet.domain != "host") continue;
    const GuardFunction* guard = registry->find_guard(payload->type_name());
    if (guard == nullptr) continue;
    (*guard)(*payload, report);
    if (report.nan) {
      // A source passes on what its input holds; elsewhere numbers like these come of weights.
      findings.error = std::make_shared<const Error>(
          node.spec->inputs.empty() ? ErrorCode::format : ErrorCode::weights, node.where + "/" + port_name(node, port),
          fmt::format("packet {} ({}) holds NaN or infinite values; the weights or the input are damaged, or the "
                      "device computes wrongly (try another with --device)",
                      sent.packet.sequence, payload->type_name()));
      return findings;
    }
    if (report.unit_ends) {
      judge(node, port, report, findings.warnings);
      report = GuardReport{};
    }
  }
  if (done) {
    for (std::size_t port = 0; port < node.guards.size(); ++port)
      judge(node, port, node.guards[port], findings.warnings);
    judge_empty(node, findings.warnings);
  }
  return findings;
}

}  // namespace morph::exec
