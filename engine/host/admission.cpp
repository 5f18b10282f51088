// See admission.h.
#include "host/admission.h"

#include <utility>

namespace morph {
namespace {

class AdmittedRun final : public Run {
 public:
  AdmittedRun(std::unique_ptr<Run> run, std::shared_ptr<void> ticket)
      : ticket_(std::move(ticket)), run_(std::move(run)) {}

  void start() override { run_->start(); }
  bool feed(const std::string& input, Packet packet) override { return run_->feed(input, std::move(packet)); }
  FeedStatus feed_for(const std::string& input, Packet& packet, std::chrono::milliseconds timeout) override {
    return run_->feed_for(input, packet, timeout);
  }
  void end_input(const std::string& input) override { run_->end_input(input); }
  std::optional<Packet> read(const std::string& output, std::chrono::milliseconds timeout) override {
    return run_->read(output, timeout);
  }
  std::optional<OutputPacket> read_any(std::chrono::milliseconds timeout,
                                       std::span<const std::string> outputs) override {
    return run_->read_any(timeout, outputs);
  }
  void set_params(const std::map<std::string, Value>& params) override { run_->set_params(params); }
  void send_control(const std::string& output, ControlEvent event) override {
    run_->send_control(output, std::move(event));
  }
  void cancel() override { run_->cancel(); }
  void pause() override { run_->pause(); }
  void resume() override { run_->resume(); }
  void checkpoint(const std::filesystem::path& file) override { run_->checkpoint(file); }
  void wait() override { run_->wait(); }
  RunState state() const override { return run_->state(); }
  RunResult result() const override { return run_->result(); }
  double progress() const override { return run_->progress(); }
  std::map<std::string, StageMetrics> metrics() const override { return run_->metrics(); }

 private:
  std::shared_ptr<void> ticket_;  // goes after the run
  std::unique_ptr<Run> run_;
};

}  // namespace

std::unique_ptr<Run> admitted(std::unique_ptr<Run> run, std::shared_ptr<void> ticket) {
  return std::make_unique<AdmittedRun>(std::move(run), std::move(ticket));
}

}  // namespace morph
