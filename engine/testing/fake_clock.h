// FakeClock: time that a test moves by hand. Give ExecutorsOptions::clock or StageHarness::clock() a FakeClock.
#pragma once

#include <atomic>
#include <functional>

#include "morph/packet.h"

namespace morph::testing {

/// Thread-safe. Outlives the functions it gave out.
class FakeClock {
 public:
  StreamTime now() const { return StreamTime(now_ns_.load()); }
  void advance(StreamTime by) { now_ns_ += by.count(); }
  std::function<StreamTime()> function() {
    return [this] { return now(); };
  }

 private:
  std::atomic<StreamTime::rep> now_ns_{0};
};

}  // namespace morph::testing
