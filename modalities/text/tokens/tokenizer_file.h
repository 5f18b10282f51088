// The published forms of tokenizers, each as the document of a tokenizer.json.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "morph/tokenizer.h"

namespace morph::text {

/// Throws Error{weights} naming `name` and the key.
std::shared_ptr<const Tokenizer> make_json_tokenizer(const nlohmann::json& document, const std::string& name);

/// tiktoken's form: "BASE64 RANK" lines. `config`: a tokenizer_config.json beside it, or null; its added tokens and
/// pattern count.
nlohmann::json document_of_ranks(std::string_view lines, const nlohmann::json& config, const std::string& name);
/// BERT's form: a word a line; its number is its id. `config`: as above (do_lower_case and the like).
nlohmann::json document_of_words(std::string_view lines, const nlohmann::json& config, const std::string& name);

}  // namespace morph::text
