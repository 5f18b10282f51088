// Reuse of ONNX sessions between calls: making one allocates its buffers anew.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "delegates/openvino/delegate.h"

namespace morph::audio {

/// Thread-safe. A session that was in use when an exception passed is not put back.
class SessionPool {
 public:
  explicit SessionPool(std::shared_ptr<const openvino::OnnxModel> model) : model_(std::move(model)) {}
  const openvino::OnnxModel& model() const { return *model_; }

  openvino::OnnxTensors run(const openvino::OnnxTensors& inputs, std::uint64_t noise_seed) const {
    std::unique_ptr<openvino::OnnxSession> session = take();
    session->set_noise_seed(noise_seed);
    openvino::OnnxTensors outputs = session->run(inputs);
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(session));
    return outputs;
  }

 private:
  std::unique_ptr<openvino::OnnxSession> take() const {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto session = std::move(idle_.back());
        idle_.pop_back();
        return session;
      }
    }
    return model_->create_session();
  }

  std::shared_ptr<const openvino::OnnxModel> model_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<openvino::OnnxSession>> idle_;
};

}  // namespace morph::audio
