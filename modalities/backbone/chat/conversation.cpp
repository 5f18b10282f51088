// Conversation: messages and the sequence that holds them. See morph/trunk.h.
#include <fmt/format.h>

#include <algorithm>

#include "exec/wire.h"
#include "morph/error.h"
#include "morph/trunk.h"

namespace morph {

Conversation::Conversation(std::shared_ptr<const Trunk> trunk, std::shared_ptr<TrunkSession> session, Options options) {
  bind(std::move(trunk), std::move(session), std::move(options));
}

void Conversation::bind(std::shared_ptr<const Trunk> trunk, std::shared_ptr<TrunkSession> session, Options options) {
  if (sequence_ == nullptr || session_ != session || options_.strict != options.strict) {
    std::unique_ptr<Sequence> fresh = session->open(options.strict);  // may throw: then all is as before
    sequence_ = std::move(fresh);
    session_ = std::move(session);
  }
  trunk_ = std::move(trunk);
  options_ = std::move(options);
}

void Conversation::set_options(Options options) {
  if (options.strict != options_.strict)
    throw Error(ErrorCode::config, "strict", "a conversation that has begun cannot change it; begin another");
  options_ = std::move(options);
}

void Conversation::add(ChatMessage message) {
  if (!messages_.empty() && message.role == "user" && messages_.back().role == "user")
    messages_.back().content += "\n" + message.content;
  else
    messages_.push_back(std::move(message));
}

void Conversation::pop() {
  if (!messages_.empty()) messages_.pop_back();
}

void Conversation::truncate_last(std::size_t n) {
  if (messages_.empty() || messages_.back().role != "assistant") return;
  std::string& text = messages_.back().content;
  n = std::min(n, text.size());
  while (n > 0 && n < text.size() && (static_cast<unsigned char>(text[n]) & 0xC0u) == 0x80u) --n;
  text.resize(n);
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) messages_.pop_back();
}

std::vector<Token> Conversation::render(const std::vector<ChatMessage>& messages) {
  std::vector<ChatMessage> all;
  if (!options_.system.empty()) all.push_back({"system", options_.system});
  for (const ChatMessage& message : messages) all.push_back({message.role, trunk_->neutralise(message.content)});
  tags_ = trunk_->apply_template(all, true);
  return trunk_->tokenise(tags_.text, true, true);
}

std::vector<Token> Conversation::prompt(const std::string& user) {
  std::vector<ChatMessage> kept = messages_;  // what is dropped is dropped only when the rest fits
  for (;;) {
    std::vector<ChatMessage> messages = kept;
    if (!user.empty()) {
      if (!messages.empty() && messages.back().role == "user")
        messages.back().content += "\n" + user;
      else
        messages.push_back({"user", user});
    }
    std::vector<Token> tokens = render(messages);
    const auto n_ctx = static_cast<std::size_t>(session_->options().n_ctx);
    const auto reserve = static_cast<std::size_t>(std::max(options_.reserve, 1));
    if (tokens.size() + reserve <= n_ctx) {
      n_dropped_ += messages_.size() - kept.size();
      messages_ = std::move(kept);
      return tokens;
    }
    // The oldest turn: up to the next user message.
    std::size_t n_drop = 1;
    while (n_drop < kept.size() && kept[n_drop].role != "user") ++n_drop;
    const bool newest = user.empty() ? n_drop >= kept.size() : kept.empty();
    if (newest || options_.overflow == Overflow::error)
      throw Error(ErrorCode::resource, "context",
                  fmt::format("expected a prompt of at most {} tokens (n_ctx {} less {} for the answer), found {}; "
                              "shorten the text, raise n_ctx or lower max_tokens",
                              n_ctx > reserve ? n_ctx - reserve : 0, n_ctx, reserve, tokens.size()));
    kept.erase(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(n_drop));
  }
}

std::vector<std::byte> Conversation::save() const {
  std::vector<std::byte> saved;
  wire::Writer writer(saved);
  writer.u32(static_cast<std::uint32_t>(messages_.size()));
  for (const ChatMessage& message : messages_) {
    writer.string(message.role);
    writer.string(message.content);
  }
  writer.string(tags_.text);
  writer.string(tags_.thinking_start);
  writer.value(tags_.thinking_end);
  writer.u64(n_dropped_);
  writer.bytes(sequence_->save());
  return saved;
}

void Conversation::restore(std::span<const std::byte> saved) {
  wire::Reader reader(saved, "conversation");
  messages_.resize(reader.count(reader.u32(), 8));
  for (ChatMessage& message : messages_) {
    message.role = reader.string();
    message.content = reader.string();
  }
  tags_.text = reader.string();
  tags_.thinking_start = reader.string();
  const Value ends = reader.value();
  const auto* list = std::get_if<std::vector<std::string>>(&ends);
  if (list == nullptr) reader.fail("expected a list of tags");
  tags_.thinking_end = *list;
  n_dropped_ = reader.u64();
  sequence_->restore(reader.bytes());
  reader.expect_end();
}

std::vector<Token> Conversation::align(std::span<const Token> tokens) {
  if (tokens.empty()) return {};
  const std::vector<Token> held = sequence_->tokens();
  std::size_t n = 0;
  while (n < held.size() && n + 1 < tokens.size() && held[n] == tokens[n]) ++n;
  n = sequence_->roll_back(n);
  return {tokens.begin() + static_cast<std::ptrdiff_t>(n), tokens.end()};
}

}  // namespace morph
