// WordPiece and whole words, and the choice among all models.
#include <algorithm>

#include "tokens/code_points.h"
#include "tokens/models.h"

namespace morph::text {
namespace {

class WordPiece final : public TokenModel {
 public:
  explicit WordPiece(const JsonPart& part)
      : prefix_(part.text("continuing_subword_prefix", "##")),
        longest_(static_cast<std::size_t>(
            part.find("max_input_chars_per_word") ? part.integer("max_input_chars_per_word", 1, 10000) : 100)) {
    vocabulary_.read(part.at("vocab"));
    unknown_ = vocabulary_.find(part.text("unk_token", "[UNK]"));
    if (!unknown_) part.refuse("unk_token", "a token of the vocabulary");
  }

  void encode(std::string_view piece, std::vector<int>& ids) const override {
    std::size_t n_chars = 0;
    for (std::size_t at = 0; at < piece.size() && n_chars <= longest_; ++n_chars) next_code_point(piece, at);
    const std::size_t n_before = ids.size();
    bool known = n_chars <= longest_;
    std::string rest;
    for (std::size_t at = 0; known && at < piece.size();) {
      // The longest token that the rest begins with; a prefix counts as part of the rest.
      const std::size_t n_prefix = at > 0 ? prefix_.size() : 0;
      rest = (at > 0 ? prefix_ : "") + std::string(piece.substr(at));
      int best = -1;
      std::size_t taken = 0;
      vocabulary_.prefixes(rest, [&](int id, std::size_t n) {
        if (n <= n_prefix) return;
        best = id;
        taken = n - n_prefix;
      });
      known = best >= 0;
      if (known) ids.push_back(best);
      at += taken;
    }
    if (known) return;
    ids.resize(n_before);
    ids.push_back(*unknown_);
  }

 private:
  std::string prefix_;
  std::size_t longest_;
  std::optional<int> unknown_;
};

class WordLevel final : public TokenModel {
 public:
  explicit WordLevel(const JsonPart& part) {
    vocabulary_.read(part.at("vocab"));
    unknown_ = vocabulary_.find(part.text("unk_token", "<unk>"));
  }
  void encode(std::string_view piece, std::vector<int>& ids) const override {
    if (const auto id = vocabulary_.find(piece))
      ids.push_back(*id);
    else if (unknown_)
      ids.push_back(*unknown_);
  }

 private:
  std::optional<int> unknown_;
};

}  // namespace

std::unique_ptr<const TokenModel> make_word_piece(const JsonPart& part) {
  return std::make_unique<const WordPiece>(part);
}

std::unique_ptr<const TokenModel> make_word_level(const JsonPart& part) {
  return std::make_unique<const WordLevel>(part);
}

std::unique_ptr<const TokenModel> make_token_model(const JsonPart& part) {
  std::string type = part.text("type", "");
  if (type.empty()) type = part.find("merges") != nullptr ? "BPE" : part.find("unk_id") ? "Unigram" : "WordPiece";
  if (type == "BPE") return make_bpe(part);
  if (type == "Unigram") return make_unigram(part);
  if (type == "WordPiece") return make_word_piece(part);
  if (type == "WordLevel") return make_word_level(part);
  part.refuse("type", "BPE, Unigram, WordPiece or WordLevel");
}

}  // namespace morph::text
