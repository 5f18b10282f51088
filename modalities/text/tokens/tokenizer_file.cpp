// Which file of a folder is the tokenizer, and what it becomes. Ranks of bytes (tiktoken) become merges: the two parts
// of a token are those that the merges before it leave of its bytes.
#include "tokens/tokenizer_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <unordered_map>
#include <utility>
#include <vector>

#include "morph/error.h"
#include "tensor/published_config.h"
#include "tokens/base64.h"
#include "tokens/byte_alphabet.h"
#include "tokens/json_fields.h"

namespace morph::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
constexpr std::size_t kLongestRank = 512;  // bytes of one token

/// GPT-4's words, which most published rank files were trained on: contractions, letters, up to three digits, other
/// marks, line ends, spaces.
constexpr std::string_view kRankWords =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

[[noreturn]] void refuse(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::weights, where, message + "; fetch the file again");
}

std::string read_text(const fs::path& file) {
  std::error_code failed;
  const auto bytes = fs::is_regular_file(file, failed) ? fs::file_size(file, failed) : kMaxBytes + 1;
  if (failed || bytes > kMaxBytes) refuse(file.string(), "expected a file of at most 256 MB");
  std::ifstream in(file, std::ios::binary);
  std::string text(static_cast<std::size_t>(bytes), '\0');
  in.read(text.data(), static_cast<std::streamsize>(bytes));
  if (!in) refuse(file.string(), "expected a readable file");
  return text;
}

template <class Visit>
void each_line(std::string_view text, const Visit& visit) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    visit(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

/// "added_tokens_decoder" of a tokenizer_config.json as "added_tokens".
json added_tokens_of(const json& config) {
  json added = json::array();
  const auto found = config.is_object() ? config.find("added_tokens_decoder") : config.end();
  if (!config.is_object() || found == config.end() || !found->is_object()) return added;
  for (const auto& [id, entry] : found->items()) {
    int value = 0;
    const auto parsed = std::from_chars(id.data(), id.data() + id.size(), value);
    if (!entry.is_object() || parsed.ec != std::errc{} || parsed.ptr != id.data() + id.size()) continue;
    json one = entry;
    one["id"] = value;
    added.push_back(std::move(one));
  }
  return added;
}

std::string config_text(const json& config, const char* key, std::string_view otherwise) {
  if (!config.is_object()) return std::string(otherwise);
  const auto found = config.find(key);
  if (found != config.end() && found->is_string()) return found->get<std::string>();
  if (found != config.end() && found->is_object() && found->contains("content") && (*found)["content"].is_string())
    return (*found)["content"].get<std::string>();
  return std::string(otherwise);
}

/// The merge that makes `token`: its bytes merged by the lowest ranks until two parts are left.
std::pair<std::string, std::string> parts_of(const std::string& token, int rank,
                                             const std::unordered_map<std::string, int>& ranks,
                                             const std::string& name) {
  std::vector<std::string> parts;
  for (const char byte : token) parts.emplace_back(1, byte);
  while (parts.size() > 2) {
    int best = rank;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find(parts[i] + parts[i + 1]);
      if (found == ranks.end() || found->second >= best) continue;
      best = found->second;
      at = i;
    }
    if (best == rank) refuse(fmt::format("{}/{}", name, rank), "expected a token made of two of lower rank");
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  return {parts[0], parts[1]};
}

json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

fs::path tokenizer_file(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed)) return path;
  for (const char* name : {"tokenizer.json", "tiktoken.model"})
    if (fs::exists(path / name, failed)) return path / name;
  std::vector<fs::path> ranks;
  for (const auto& entry : fs::directory_iterator(path, failed))
    if (entry.path().extension() == ".tiktoken") ranks.push_back(entry.path());
  std::sort(ranks.begin(), ranks.end());
  if (!ranks.empty()) return ranks.front();
  if (fs::exists(path / "vocab.txt", failed)) return path / "vocab.txt";
  throw Error(
      ErrorCode::weights, path.string(),
      "expected tokenizer.json, a .tiktoken file, tiktoken.model or vocab.txt, found none; is the model fetched "
      "in full?");
}

json document_of(const fs::path& file) {
  if (file.extension() == ".json") return tensor::read_json_file(file, kMaxBytes);
  std::error_code failed;
  const fs::path beside = file.parent_path() / "tokenizer_config.json";
  const json config = fs::exists(beside, failed) ? tensor::read_json_file(beside) : json();
  const std::string text = read_text(file);
  return file.extension() == ".txt" ? document_of_words(text, config, file.string())
                                    : document_of_ranks(text, config, file.string());
}

}  // namespace

json document_of_ranks(std::string_view lines, const json& config, const std::string& name) {
  std::unordered_map<std::string, int> ranks;
  std::vector<std::pair<int, std::string>> ordered;
  each_line(lines, [&](std::string_view line) {
    if (line.empty()) return;
    const std::size_t space = line.find(' ');
    int rank = -1;
    if (space != line.npos) std::from_chars(line.data() + space + 1, line.data() + line.size(), rank);
    const std::string where = fmt::format("{}/{}", name, ordered.size() + 1);
    if (rank < 0 || rank >= kMaxTokens) refuse(where, "expected lines of base64 and a rank");
    std::string token = decode_base64(line.substr(0, space), where);
    if (token.empty() || token.size() > kLongestRank) refuse(where, "expected tokens of 1 to 512 bytes");
    if (!ranks.emplace(token, rank).second) refuse(where, "expected each token once");
    ordered.emplace_back(rank, std::move(token));
  });
  if (ordered.empty()) refuse(name, "expected lines of base64 and a rank, found none");
  std::sort(ordered.begin(), ordered.end());
  json vocab = json::object(), merges = json::array();
  for (const auto& [rank, token] : ordered) {
    vocab[spell_bytes(token)] = rank;
    if (token.size() < 2) continue;
    const auto [left, right] = parts_of(token, rank, ranks, name);
    merges.push_back({spell_bytes(left), spell_bytes(right)});
  }
  const std::string pattern = config_text(config, "pat_str", kRankWords);
  return {{"version", "1.0"},
          {"added_tokens", added_tokens_of(config)},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
              byte_level(false)}}}},
          {"post_processor", nullptr},
          {"decoder", byte_level(false)},
          {"model",
           {{"type", "BPE"},
            {"ignore_merges", true},
            {"byte_fallback", false},
            {"fuse_unk", false},
            {"vocab", std::move(vocab)},
            {"merges", std::move(merges)}}}};
}

json document_of_words(std::string_view lines, const json& config, const std::string& name) {
  json vocab = json::object();
  int id = 0;
  each_line(lines, [&](std::string_view line) {
    if (id >= kMaxTokens) refuse(name, "expected at most 4194304 words");
    vocab.emplace(std::string(line), id++);
  });
  const auto flag = [&](const char* key, bool otherwise) {
    return config.is_object() && config.contains(key) && config[key].is_boolean() ? config[key].get<bool>() : otherwise;
  };
  const std::string unknown = config_text(config, "unk_token", "[UNK]");
  json added = json::array(), specials = json::object(), single = json::array();
  const auto special = [&](const char* key, std::string_view otherwise) {
    const std::string token = config_text(config, key, otherwise);
    const auto found = vocab.find(token);
    if (found == vocab.end()) return std::string();
    added.push_back({{"id", *found}, {"content", token}, {"special", true}, {"normalized", false}});
    specials[token] = {{"id", token}, {"ids", {*found}}, {"tokens", {token}}};
    return token;
  };
  const std::string cls = special("cls_token", "[CLS]"), sep = special("sep_token", "[SEP]");
  special("pad_token", "[PAD]");
  special("mask_token", "[MASK]");
  special("unk_token", "[UNK]");
  if (!cls.empty()) single.push_back({{"SpecialToken", {{"id", cls}, {"type_id", 0}}}});
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (!sep.empty()) single.push_back({{"SpecialToken", {{"id", sep}, {"type_id", 0}}}});
  const bool lower = flag("do_lower_case", true);
  return {{"version", "1.0"},
          {"added_tokens", std::move(added)},
          {"normalizer",
           {{"type", "BertNormalizer"},
            {"clean_text", true},
            {"handle_chinese_chars", flag("tokenize_chinese_chars", true)},
            {"strip_accents", flag("strip_accents", lower)},
            {"lowercase", lower}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor",
           {{"type", "TemplateProcessing"}, {"single", std::move(single)}, {"special_tokens", std::move(specials)}}},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", unknown},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab", std::move(vocab)}}}};
}

std::shared_ptr<const Tokenizer> read_tokenizer(const fs::path& path) {
  const fs::path file = tokenizer_file(path);
  return make_json_tokenizer(document_of(file), file.string());
}

std::shared_ptr<const Tokenizer> parse_tokenizer(std::string_view text, const std::string& name) {
  return make_json_tokenizer(tensor::parse_json(text, name, kMaxBytes), name);
}

std::string tokenizer_json(const fs::path& path) {
  return document_of(tokenizer_file(path)).dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace morph::text
