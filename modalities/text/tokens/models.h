// The models of tokenizers: a piece of text to token ids.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "tokens/vocabulary.h"

namespace morph::text {

/// Immutable, thread-safe.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  virtual void encode(std::string_view piece, std::vector<int>& ids) const = 0;
  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  Vocabulary vocabulary_;
};

/// Byte-pair encoding (Sennrich et al. 2016): pairs are merged in the order in which they were learnt.
std::unique_ptr<const TokenModel> make_bpe(const JsonPart& part);
/// Unigram (Kudo 2018): the likeliest way to cut a piece into tokens.
std::unique_ptr<const TokenModel> make_unigram(const JsonPart& part);
/// WordPiece (Devlin et al. 2018): the longest token first, then the longest that continues it.
std::unique_ptr<const TokenModel> make_word_piece(const JsonPart& part);
/// Whole words.
std::unique_ptr<const TokenModel> make_word_level(const JsonPart& part);

/// "model" of a tokenizer.json; files of before 2021 leave its type out. Throws Error{weights}.
std::unique_ptr<const TokenModel> make_token_model(const JsonPart& part);

}  // namespace morph::text
