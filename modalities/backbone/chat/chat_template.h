// A model's own chat template, rendered by llama-common's Jinja in a process of its own (programs/render_template.cpp).
// This folder and that program are the only places that see llama-common's headers, which are internal to llama.cpp and
// change without notice.
#pragma once

#include <llama.h>

#include <memory>
#include <span>
#include <string>

#include "morph/trunk.h"

namespace morph::backbone {

class TemplateProcess;

/// Immutable, thread-safe.
class ChatTemplate {
 public:
  /// `model` outlives this. A template that Jinja cannot parse is matched against libllama's built-in formats instead.
  ChatTemplate(const llama_model* model, std::string source);
  ~ChatTemplate();
  /// Throws Error{weights} when neither way renders these messages, and for a template that takes more time, memory or
  /// depth than a template may.
  ChatPrompt render(std::span<const ChatMessage> messages, bool answer) const;

 private:
  ChatPrompt render_builtin(std::span<const ChatMessage> messages, bool answer) const;

  std::string source_;
  std::unique_ptr<TemplateProcess> process_;
};

}  // namespace morph::backbone
