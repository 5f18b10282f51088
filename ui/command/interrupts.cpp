// See interrupts.h.
#include "interrupts.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace morph::command {
namespace {

constexpr int kInterruptedExit = 130;

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&set, number);
  return set;
}

}  // namespace

void block_interrupts() {
  const sigset_t set = watched();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

InterruptWatch::InterruptWatch() {
  block_interrupts();  // here too, for programs that did not begin with it
  thread_ = std::thread([this] { watch(); });
}

InterruptWatch::~InterruptWatch() {
  stop_ = true;
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

void InterruptWatch::cancel_instead(Run* run) {
  const std::lock_guard<std::mutex> lock(mutex_);
  run_ = run;
}

void InterruptWatch::watch() {
  const sigset_t set = watched();
  for (bool interrupted = false;;) {
    int number = 0;
    sigwait(&set, &number);
    if (stop_) return;
    if (number == SIGUSR1) continue;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (interrupted || run_ == nullptr) _exit(kInterruptedExit);
    interrupted = true;
    run_->cancel();
  }
}

}  // namespace morph::command
