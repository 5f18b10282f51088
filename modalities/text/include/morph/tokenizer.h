// Tokenizer: text to the ids that a model was trained on, and back. One interface over every published form: byte-level
// BPE, SentencePiece's BPE and Unigram, WordPiece and whole words, as tokenizer.json, tiktoken files and vocab.txt hold
// them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace morph::text {

struct EncodeOptions {
  bool special = true;         ///< with what the post-processor puts around a text ([CLS], <s>)
  std::size_t max_tokens = 0;  ///< most ids, those included; what is more is cut at the end. 0: no limit
};

struct Encoded {
  std::vector<int> ids;
  std::size_t n_cut = 0;  ///< ids that did not fit
};

/// Immutable, thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of a text (bytes that are no UTF-8 count as U+FFFD). What the vocabulary cannot spell becomes its unknown
  /// token, or nothing where it has none. Throws Error{weights} when a pattern of the tokenizer takes too long.
  virtual Encoded encode(std::string_view utf8, const EncodeOptions& options = {}) const = 0;
  /// Text of ids; ids out of range spell nothing. Bytes that make no UTF-8 become U+FFFD.
  virtual std::string decode(std::span<const int> ids, bool skip_special = true) const = 0;
  /// Bytes that one id adds to a text in mid-sentence: part of a character, perhaps. Empty for special ids and unknown
  /// ones.
  virtual std::string piece(int id) const = 0;

  virtual std::optional<int> id_of(std::string_view token) const = 0;  ///< as the file spells it
  virtual std::string token(int id) const = 0;                         ///< the same way back; empty when there is none
  virtual int size() const = 0;                                        ///< largest id + 1
  /// Tokens beside the vocabulary proper, by their text; those that control are special.
  virtual const std::map<std::string, int, std::less<>>& added() const = 0;
  virtual bool is_special(int id) const = 0;
};

/// Reads a tokenizer: a folder (tokenizer.json, else a .tiktoken or tiktoken.model file, else vocab.txt), or one of
/// these files. Depth, counts, bytes and the time of patterns are bounded. Throws Error{weights} naming file and key.
std::shared_ptr<const Tokenizer> read_tokenizer(const std::filesystem::path& path);

/// The same of a tokenizer.json's bytes; `name` is used in errors.
std::shared_ptr<const Tokenizer> parse_tokenizer(std::string_view json, const std::string& name);

/// Whatever read_tokenizer() reads, as a tokenizer.json: ranks become merges, a word list a WordPiece model. Throws
/// Error{weights}.
std::string tokenizer_json(const std::filesystem::path& path);

}  // namespace morph::text
