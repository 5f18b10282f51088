// See interrupts.h.
#include "interrupts.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace morph::command {
namespace {

constexpr int kInterruptedExit = 130;

/// What ends a command. One that the caller ignores (nohup, a job in the background of a script) stays ignored: blocked
/// and waited for it would be seen again.
sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    struct sigaction action {};
    if (sigaction(number, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) sigaddset(&set, number);
  }
  return set;
}

}  // namespace

void block_interrupts() {
  const sigset_t set = watched();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // writing beyond a limit fails and is an error of its own
}

InterruptWatch::InterruptWatch() {
  block_interrupts();  // here too, for programs that did not begin with it
  thread_ = std::thread([this] { watch(); });
}

InterruptWatch::~InterruptWatch() {
  stop_ = true;
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
  if (canceller_.joinable()) canceller_.join();
}

void InterruptWatch::cancel_instead(Run* run) {
  std::thread finished;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    run_ = run;
    finished.swap(canceller_);
  }
  if (finished.joinable()) finished.join();
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
    // Beside this thread: cancelling may wait, and the next signal must not.
    canceller_ = std::thread([run = run_] { run->cancel(); });
  }
}

}  // namespace morph::command
