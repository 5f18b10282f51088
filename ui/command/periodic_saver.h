// Saves a run to its checkpoint file again and again while it works.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

#include "morph/run.h"

namespace morph::command {

/// "5s", "500ms", "2m", "1.5" (seconds); throws Error{config} below 0.05 s and above a day.
std::chrono::milliseconds parse_interval(const std::string& text, const std::string& where);

/// Starts the run, once it is saved for the first time, so that there is something to resume from the beginning on. A
/// later save that fails is a warning: the one before is still whole.
class PeriodicSaver {
 public:
  /// Throws what Run::start and Run::checkpoint throw; the run is then still the caller's to destroy.
  PeriodicSaver(Run& run, std::filesystem::path file, std::chrono::milliseconds every);
  /// Ends the saving; the run goes on. Destroy it before the run.
  ~PeriodicSaver();
  PeriodicSaver(const PeriodicSaver&) = delete;
  PeriodicSaver& operator=(const PeriodicSaver&) = delete;

 private:
  void work();
  bool save();

  Run& run_;
  const std::filesystem::path file_;
  const std::chrono::milliseconds every_;
  std::mutex mutex_;  // guards stop_
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace morph::command
