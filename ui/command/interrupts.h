// What Ctrl-C, SIGTERM, SIGQUIT and a hang-up do while a command works: end it at once, or cancel its run in an orderly
// way.
//
// The signals are blocked in every thread (libraries make threads too, and a handler could do little); one thread at a
// time waits for them. A command that takes long holds a watch, or Ctrl-C would do nothing.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>

#include "morph/run.h"

namespace morph::command {

/// Blocks these signals in the calling thread and every thread it starts later, so that an InterruptWatch can take
/// them with sigwait. Call first thing in main, before anything makes threads.
void block_interrupts();

/// While it lives, the first interrupt cancels the run that is named, or ends the process at once (exit code 130) when
/// there is none; a second one ends it in any case. One at a time.
class InterruptWatch {
 public:
  InterruptWatch();
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  /// Names the run to cancel; null: none. The run must live until another is named.
  void cancel_instead(Run* run);

 private:
  void watch();

  std::mutex mutex_;  // guards run_ and canceller_
  Run* run_ = nullptr;
  std::thread canceller_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace morph::command
