// The Trunk on libllama: model, vocabulary, chat template.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "chat/chat_template.h"
#include "llama/handles.h"
#include "llama/model_file.h"
#include "morph/trunk.h"

namespace morph::backbone {

class LlamaTrunk final : public Trunk, public std::enable_shared_from_this<LlamaTrunk> {
 public:
  LlamaTrunk(ModelHandle model, ModelFacts facts, std::filesystem::path file, std::string device);

  const TrunkInfo& info() const override { return info_; }
  std::vector<Token> tokenise(std::string_view utf8, bool parse_special, bool add_special) const override;
  std::string piece(Token token, bool special) const override;
  std::string detokenise(std::span<const Token> tokens, bool special) const override;
  bool ends_generation(Token token) const override;
  std::vector<float> embed(std::span<const Token> tokens) const override;
  ChatPrompt apply_template(std::span<const ChatMessage> messages, bool answer) const override;
  std::string neutralise(std::string_view utf8) const override;
  std::shared_ptr<TrunkSession> open_session(const SessionOptions& options) const override;
  std::unique_ptr<Sampler> make_sampler(const SamplerOptions& options) const override;

  llama_model* model() const { return model_.get(); }
  const ModelFacts& facts() const { return facts_; }
  const std::string& device() const { return device_; }

 private:
  ModelHandle model_;
  const llama_vocab* vocab_ = nullptr;
  ModelFacts facts_;
  std::string device_;
  TrunkInfo info_;
  std::unique_ptr<const ChatTemplate> template_;
  bool has_tokeniser_ = false;
  std::vector<std::string> control_texts_;  ///< spellings of control tokens, longest first
  mutable std::once_flag opened_;           ///< guards file_, which embed() opens when it is first asked
  mutable std::unique_ptr<const tensor::Checkpoint> file_;
};

/// llama_sampler.cpp
std::unique_ptr<Sampler> make_llama_sampler(int n_vocab, const SamplerOptions& options);
/// llama_session.cpp
std::shared_ptr<TrunkSession> open_llama_session(std::shared_ptr<const LlamaTrunk> trunk,
                                                 const SessionOptions& options);

}  // namespace morph::backbone
