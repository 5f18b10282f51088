// See periodic_saver.h.
#include "periodic_saver.h"

#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "morph/error.h"
#include "morph/message.h"

namespace morph::command {

std::chrono::milliseconds parse_interval(const std::string& text, const std::string& where) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const std::string unit = end;
  double seconds = -1;
  if (end != text.c_str() && (unit.empty() || unit == "s")) seconds = number;
  if (end != text.c_str() && unit == "ms") seconds = number / 1000.0;
  if (end != text.c_str() && unit == "m") seconds = number * 60.0;
  if (!(seconds >= 0.05 && seconds <= 86400.0))  // NaN fails
    throw Error(ErrorCode::config, where, "expected a time from 50ms to 1440m, such as 5s, found \"" + text + "\"");
  return std::chrono::milliseconds(static_cast<long>(seconds * 1000.0));
}

PeriodicSaver::PeriodicSaver(Run& run, std::filesystem::path file, std::chrono::milliseconds every)
    : run_(run), file_(std::move(file)), every_(every) {
  run_.pause();
  run_.start();
  run_.checkpoint(file_);
  run_.resume();
  thread_ = std::thread([this] { work(); });
}

PeriodicSaver::~PeriodicSaver() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  thread_.join();
}

void PeriodicSaver::work() {
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, every_, [this] { return stop_; })) {
    lock.unlock();
    if (!save()) return;
    lock.lock();
  }
}

/// False when the run is over.
bool PeriodicSaver::save() {
  run_.pause();
  if (run_.state() != RunState::paused) return false;
  try {
    run_.checkpoint(file_);
  } catch (const std::exception& error) {  // an edge: a thread of its own
    if (run_.state() != RunState::paused) return false;
    write_message(fmt::format("warning: {}: the run could not be saved ({}); the last checkpoint is as it was\n",
                              shown_text(file_.string()), shown_text(error.what())));
  }
  run_.resume();
  return true;
}

}  // namespace morph::command
