// Runs an action when a scope is left before it was dismissed: how state is put back whatever exception was thrown.
#pragma once

#include <utility>

namespace morph::backbone {

template <class Action>
class [[nodiscard]] OnFailure {
 public:
  explicit OnFailure(Action action) : action_(std::move(action)) {}
  ~OnFailure() {
    if (armed_) action_();
  }
  OnFailure(const OnFailure&) = delete;
  OnFailure& operator=(const OnFailure&) = delete;
  void dismiss() { armed_ = false; }

 private:
  Action action_;
  bool armed_ = true;
};

}  // namespace morph::backbone
