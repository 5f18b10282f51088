// See chat_template.h. Thinking is asked to be off (`enable_thinking` false); families that think all the same name
// their tags in the result.
#include "chat/chat_template.h"

#include <chat.h>
#include <log.h>

#include <exception>
#include <mutex>

#include "morph/error.h"
#include "morph/log.h"

namespace morph::backbone {
namespace {

/// llama-common prints to the terminal by itself; what fails is in its exceptions too. Per process, as its log is.
void silence_library() {
  static std::once_flag once;
  std::call_once(once, [] { common_log_set_verbosity_thold(LOG_LEVEL_OUTPUT); });
}

}  // namespace

struct ChatTemplate::Jinja {
  common_chat_templates_ptr templates;
  bool add_bos = false, add_eos = false;  ///< the tokenizer adds them, so they are taken out of the text
};

ChatTemplate::ChatTemplate(const llama_model* model, std::string source) : source_(std::move(source)) {
  silence_library();
  try {  // an edge: another library's exceptions stop here
    auto jinja = std::make_unique<Jinja>();
    jinja->templates = common_chat_templates_init(model, source_);
    const llama_vocab* vocab = llama_model_get_vocab(model);
    jinja->add_bos = llama_vocab_get_add_bos(vocab);
    jinja->add_eos = llama_vocab_get_add_eos(vocab);
    if (jinja->templates) jinja_ = std::move(jinja);
  } catch (const std::exception& failure) {
    log(LogLevel::warning, "backbone/template", std::string("Jinja cannot parse this template: ") + failure.what());
  }
}

ChatTemplate::~ChatTemplate() = default;

ChatPrompt ChatTemplate::render(std::span<const ChatMessage> messages, bool answer) const {
  if (!jinja_) return render_builtin(messages, answer);
  common_chat_templates_inputs inputs;
  inputs.add_generation_prompt = answer;
  inputs.enable_thinking = false;
  inputs.add_bos = jinja_->add_bos;
  inputs.add_eos = jinja_->add_eos;
  for (const ChatMessage& message : messages) {
    common_chat_msg entry;
    entry.role = message.role;
    entry.content = message.content;
    inputs.messages.push_back(std::move(entry));
  }
  try {  // an edge: another library's exceptions stop here
    const common_chat_params rendered = common_chat_templates_apply(jinja_->templates.get(), inputs);
    return {rendered.prompt, rendered.thinking_start_tag, rendered.thinking_end_tags};
  } catch (const std::exception& failure) {
    throw Error(ErrorCode::weights, "chat template",
                std::string("the model's template refuses these messages: ") + failure.what());
  }
}

ChatPrompt ChatTemplate::render_builtin(std::span<const ChatMessage> messages, bool answer) const {
  std::vector<llama_chat_message> entries;
  std::size_t bytes = 256;
  for (const ChatMessage& message : messages) {
    entries.push_back({message.role.c_str(), message.content.c_str()});
    bytes += 2 * (message.role.size() + message.content.size()) + 64;
  }
  std::string text(bytes, '\0');
  for (;;) {
    const std::int32_t n = llama_chat_apply_template(source_.c_str(), entries.data(), entries.size(), answer,
                                                     text.data(), static_cast<std::int32_t>(text.size()));
    if (n < 0)
      throw Error(ErrorCode::weights, "chat template",
                  "expected a template that Jinja or libllama's built-in formats can render, found neither");
    const bool fits = static_cast<std::size_t>(n) <= text.size();
    text.resize(static_cast<std::size_t>(n));
    if (fits) return {text, "", {}};
  }
}

}  // namespace morph::backbone
