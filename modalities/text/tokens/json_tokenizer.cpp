// Tokenizer of a tokenizer.json: added tokens, normalizer, pre-tokenizer, model and what is put around, in this order;
// decoding runs the file's decoder. Every other form is turned into such a file first (tokenizer_file.cpp).
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "morph/tokenizer.h"
#include "tokens/added_tokens.h"
#include "tokens/byte_alphabet.h"
#include "tokens/code_points.h"
#include "tokens/models.h"
#include "tokens/normalizer.h"
#include "tokens/pre_tokenizer.h"
#include "tokens/token_decoder.h"
#include "tokens/tokenizer_file.h"

namespace morph::text {
namespace {

using nlohmann::json;

/// What is put before and after a text.
struct Surroundings {
  std::vector<int> before, after;

  void read(const JsonPart& part, int depth = 0) {
    if (part.json.is_null()) return;
    const std::string type = part.type();
    if (type == "Sequence") {
      if (depth > 4) part.refuse("processors", "at most four levels");
      std::size_t i = 0;
      for (const auto& step : part.list("processors", kMaxSteps))
        read({step, fmt::format("{}/processors/{}", part.where, i++)}, depth + 1);
    } else if (type == "TemplateProcessing") {
      read_template(part);
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      before.insert(before.begin(), id_of_pair(part, "cls"));
      after.push_back(id_of_pair(part, "sep"));
    } else if (type != "ByteLevel") {
      part.refuse("type", "a post-processor that is known, not \"" + type.substr(0, 40) + "\"");
    }
  }

 private:
  static int id_of_pair(const JsonPart& part, std::string_view key) {
    const auto& pair = part.list(key, 2);
    if (pair.size() != 2 || !pair[1].is_number_integer() || pair[1].get<std::int64_t>() < 0 ||
        pair[1].get<std::int64_t>() >= kMaxTokens)
      part.refuse(key, "a token and its id");
    return pair[1].get<int>();
  }

  void read_template(const JsonPart& part) {
    bool passed = false;
    std::vector<int> first, last;
    for (const auto& entry : part.list("single", kMaxSteps)) {
      const JsonPart piece{entry, part.where + "/single"};
      if (piece.find("Sequence") != nullptr) {
        passed = true;
        continue;
      }
      const std::string name = piece.at("SpecialToken").text("id");
      for (const auto& id : part.at("special_tokens").at(name).list("ids", kMaxSteps)) {
        if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= kMaxTokens)
          part.refuse("special_tokens/" + name, "token ids");
        (passed ? last : first).push_back(id.get<int>());
      }
    }
    if (!passed) part.refuse("single", "the place of the text");
    before.insert(before.begin(), first.begin(), first.end());
    after.insert(after.end(), last.begin(), last.end());
  }
};

json part_or_null(const json& document, const char* key) {
  const auto found = document.find(key);
  return found == document.end() ? json() : *found;
}

class JsonTokenizer final : public Tokenizer {
 public:
  JsonTokenizer(const json& document, const std::string& name) {
    const JsonPart root{document, name};
    if (!document.is_object()) root.refuse("", "a tokenizer.json");
    const auto step = [&](const char* key) { return part_or_null(document, key); };
    const auto where = [&](const char* key) { return name + "/" + key; };
    const json normalizer = step("normalizer"), pre = step("pre_tokenizer"), post = step("post_processor"),
               decoder = step("decoder");
    model_ = make_token_model(root.at("model"));
    normalize_ = Normalizer({normalizer, where("normalizer")});
    cut_ = PreTokenizer({pre, where("pre_tokenizer")});
    around_.read({post, where("post_processor")});
    decode_ = TokenDecoder({decoder, where("decoder")});
    added_.read(root, normalize_);
    size_ = std::max(model_->vocabulary().size(), added_.largest() + 1);
    for (const std::vector<int>* list : {&around_.before, &around_.after})
      for (const int id : *list)
        if (id >= size_) root.refuse("post_processor", "ids of tokens that there are");
  }

  Encoded encode(std::string_view utf8, const EncodeOptions& options) const override {
    Encoded out;
    const std::string text = whole_utf8(utf8);
    bool at_start = true;
    for (const TextPart& part : added_.split(text, false)) {
      if (part.id >= 0) {
        out.ids.push_back(part.id);
      } else {
        const std::string normal = normalize_(std::string(part.text));
        for (const TextPart& inner : added_.split(normal, true)) {
          if (inner.id >= 0)
            out.ids.push_back(inner.id);
          else
            for (const std::string& piece : cut_(std::string(inner.text), at_start)) model_->encode(piece, out.ids);
          at_start = false;
        }
      }
      at_start = false;
    }
    surround(out, options);
    return out;
  }

  std::string decode(std::span<const int> ids, bool skip_special) const override {
    std::vector<std::string> tokens;
    for (const int id : ids) {
      if (skip_special && added_.is_special(id)) continue;
      std::string text = token(id);
      // An added token is text as it is, not spelled bytes.
      if (decode_.is_byte_level() && added_.holds(id)) text = spell_bytes(text);
      if (!text.empty()) tokens.push_back(std::move(text));
    }
    return tokens.empty() ? std::string() : whole_utf8(decode_(std::move(tokens)));
  }

  std::string piece(int id) const override {
    if (id < 0 || id >= size_ || added_.is_special(id)) return {};
    if (added_.holds(id)) return added_.text(id);
    if (decode_.is_byte_level()) return unspell_bytes(model_->vocabulary().token(id));
    // A token in mid-sentence: what decoding it after another adds.
    const std::string before = decode_({"a"}), both = decode_({"a", model_->vocabulary().token(id)});
    return both.starts_with(before) ? both.substr(before.size()) : decode_({model_->vocabulary().token(id)});
  }

  std::optional<int> id_of(std::string_view token) const override {
    if (const auto found = added_.ids().find(token); found != added_.ids().end()) return found->second;
    return model_->vocabulary().find(token);
  }
  std::string token(int id) const override {
    return added_.holds(id) ? added_.text(id) : model_->vocabulary().token(id);
  }
  int size() const override { return size_; }
  const std::map<std::string, int, std::less<>>& added() const override { return added_.ids(); }
  bool is_special(int id) const override { return added_.is_special(id); }

 private:
  void surround(Encoded& out, const EncodeOptions& options) const {
    static const Surroundings kNothing;
    const Surroundings& around = options.special ? around_ : kNothing;
    const std::size_t n_around = around.before.size() + around.after.size();
    if (options.max_tokens > 0) {
      const std::size_t room = options.max_tokens > n_around ? options.max_tokens - n_around : 0;
      if (out.ids.size() > room) {
        out.n_cut = out.ids.size() - room;
        out.ids.resize(room);
      }
    }
    out.ids.insert(out.ids.begin(), around.before.begin(), around.before.end());
    out.ids.insert(out.ids.end(), around.after.begin(), around.after.end());
  }

  std::unique_ptr<const TokenModel> model_;
  Normalizer normalize_;
  PreTokenizer cut_;
  Surroundings around_;
  TokenDecoder decode_;
  AddedTokens added_;
  int size_ = 0;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_json_tokenizer(const json& document, const std::string& name) {
  return std::make_shared<const JsonTokenizer>(document, name);
}

}  // namespace morph::text
