// See chat_template.h. Thinking is asked to be off (`enable_thinking` false); families that think all the same name
// their tags in the result.
#include "chat/chat_template.h"

#include <utility>

#include "chat/template_process.h"
#include "morph/error.h"
#include "morph/log.h"
#include "morph/message.h"

namespace morph::backbone {
namespace {

/// The spelling of a token; empty when there is none.
std::string spelling(const llama_vocab* vocab, llama_token token) {
  if (token == LLAMA_TOKEN_NULL) return "";
  std::string text(64, '\0');
  std::int32_t n = llama_token_to_piece(vocab, token, text.data(), static_cast<std::int32_t>(text.size()), 0, true);
  if (n < 0) {
    text.resize(static_cast<std::size_t>(-n));
    n = llama_token_to_piece(vocab, token, text.data(), static_cast<std::int32_t>(text.size()), 0, true);
  }
  text.resize(static_cast<std::size_t>(std::max(n, 0)));
  return text;
}

/// llama-common's report is a page with the place in the template; what went wrong is behind the last "Error: ".
std::string reason_of(std::string_view report) {
  if (const std::size_t at = report.rfind("Error: "); at != report.npos) report.remove_prefix(at + 7);
  report = report.substr(0, report.find('\n'));
  if (report == "std::bad_alloc") report = "it takes more memory than a template may";
  return shown_text(report.substr(0, 300));
}

}  // namespace

ChatTemplate::ChatTemplate(const llama_model* model, std::string source) : source_(std::move(source)) {
  const llama_vocab* vocab = llama_model_get_vocab(model);
  process_ = std::make_unique<TemplateProcess>(std::vector<std::string>{
      "init", source_, spelling(vocab, llama_vocab_bos(vocab)), spelling(vocab, llama_vocab_eos(vocab)),
      llama_vocab_get_add_bos(vocab) ? "1" : "0", llama_vocab_get_add_eos(vocab) ? "1" : "0"});
}

ChatTemplate::~ChatTemplate() = default;

ChatPrompt ChatTemplate::render(std::span<const ChatMessage> messages, bool answer) const {
  std::vector<std::string> request{"render", answer ? "1" : "0"};
  for (const ChatMessage& message : messages) {
    request.push_back(message.role);
    request.push_back(message.content);
  }
  const TemplateProcess::Reply reply = process_->ask(request);
  if (!reply.parsed) {
    log(LogLevel::warning, "backbone/template",
        "Jinja cannot parse this template: " + reason_of(reply.strings.front()));
    return render_builtin(messages, answer);
  }
  if (!reply.ok)
    throw Error(ErrorCode::weights, "chat template",
                "the model's template refuses these messages: " + reason_of(reply.strings.front()));
  return {reply.strings.at(0), reply.strings.at(1), {reply.strings.begin() + 2, reply.strings.end()}};
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
