// Decoding: a text that is being decoded, as a coroutine. It asks for the logits that follow its next tokens and sleeps
// until they are there, so that the texts of many windows, each written as plain code, share every run of the network.
#pragma once

#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace morph::audio {

/// Tokens that one window's text wants the network to take next.
struct FeedRequest {
  std::vector<int> tokens;
  std::vector<int> positions;  ///< in the sequence, one per token
  std::vector<int> rows;       ///< of the window's self-attention cache, one per token
  /// Rows that each token sees: the first `n_prefix`, and `seen[i]` (which names the token's own).
  int n_prefix = 0;
  std::vector<std::vector<int>> seen;
  std::vector<int> outputs;  ///< indices of tokens after which logits are wanted

  /// Tokens one after the other behind `n_past` that were fed before; logits after the last.
  static FeedRequest in_a_row(std::vector<int> tokens, int n_past) {
    FeedRequest request;
    request.n_prefix = n_past;
    std::vector<int> seen;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const int row = n_past + static_cast<int>(i);
      seen.push_back(row);
      request.positions.push_back(row);
      request.rows.push_back(row);
      request.seen.push_back(seen);
    }
    request.outputs = {static_cast<int>(tokens.size()) - 1};
    request.tokens = std::move(tokens);
    return request;
  }
};

/// Where a text meets whoever runs the network. One thread at a time.
class DecodePort {
 public:
  struct Wait {
    DecodePort* port;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> sleeper) noexcept { port->sleeper_ = sleeper; }
    /// Logits [vocab_size, n_outputs], valid until the next feed.
    std::span<const float> await_resume() noexcept { return port->logits_; }
  };

  Wait feed(FeedRequest request) {
    request_ = std::move(request);
    return Wait{this};
  }
  bool waits() const { return sleeper_ != nullptr; }
  const FeedRequest& request() const { return request_; }
  /// Wakes the text, which runs to its next feed or its end.
  void answer(std::span<const float> logits) {
    logits_ = logits;
    std::exchange(sleeper_, nullptr).resume();
  }

 private:
  FeedRequest request_;
  std::span<const float> logits_;
  std::coroutine_handle<> sleeper_;
};

/// Owns the coroutine; movable. Another Decoding may co_await it; the outermost is start()ed.
template <class T>
class Decoding {
 public:
  struct promise_type {
    std::optional<T> value;
    std::exception_ptr error;
    std::coroutine_handle<> parent;

    struct Final {
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> ended) const noexcept {
        return ended.promise().parent ? ended.promise().parent : std::noop_coroutine();
      }
      void await_resume() const noexcept {}
    };
    Decoding get_return_object() { return Decoding(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    Final final_suspend() const noexcept { return {}; }
    void return_value(T result) { value = std::move(result); }
    void unhandled_exception() { error = std::current_exception(); }
  };

  Decoding() = default;
  Decoding(Decoding&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Decoding& operator=(Decoding&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Decoding() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> parent) noexcept {
    handle_.promise().parent = parent;
    return handle_;
  }
  T await_resume() { return result(); }

  void start() { handle_.resume(); }
  bool begun() const { return handle_ != nullptr; }
  bool done() const { return handle_ && handle_.done(); }
  /// Once, when done; rethrows what the text threw.
  T result() {
    if (handle_.promise().error) std::rethrow_exception(handle_.promise().error);
    return std::move(*handle_.promise().value);
  }

 private:
  explicit Decoding(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace morph::audio
