// A model's own chat template, rendered by llama-common's Jinja. The only folder that sees llama-common's headers,
// which are internal to llama.cpp and change without notice.
#pragma once

#include <llama.h>

#include <memory>
#include <span>
#include <string>

#include "morph/trunk.h"

namespace morph::backbone {

/// Immutable, thread-safe.
class ChatTemplate {
 public:
  /// `model` outlives this. A template that Jinja cannot parse is matched against libllama's built-in formats instead.
  ChatTemplate(const llama_model* model, std::string source);
  ~ChatTemplate();
  /// Throws Error{weights} when neither way renders these messages.
  ChatPrompt render(std::span<const ChatMessage> messages, bool answer) const;

 private:
  struct Jinja;
  ChatPrompt render_builtin(std::span<const ChatMessage> messages, bool answer) const;

  std::string source_;
  std::unique_ptr<Jinja> jinja_;  ///< null: built-in formats only
};

}  // namespace morph::backbone
