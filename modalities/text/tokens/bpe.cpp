// Byte-pair encoding with a heap of candidate merges over a linked list: n log n, whatever the piece. SentencePiece's
// BPE is the same with a whole text as one piece, and unknown characters spelled as bytes (<0x0A>).
#include <fmt/format.h>

#include <array>
#include <queue>
#include <unordered_map>
#include <utility>

#include "tokens/code_points.h"
#include "tokens/models.h"

namespace morph::text {
namespace {

struct Merge {
  int rank = 0, id = 0;
};

class Bpe final : public TokenModel {
 public:
  explicit Bpe(const JsonPart& part)
      : prefix_(part.text("continuing_subword_prefix", "")),
        suffix_(part.text("end_of_word_suffix", "")),
        fuse_unknown_(part.flag("fuse_unk", false)),
        ignore_merges_(part.flag("ignore_merges", false)) {
    vocabulary_.read(part.at("vocab"));
    if (part.find("unk_token") != nullptr)
      if (const std::string unknown = part.text("unk_token"); !unknown.empty()) unknown_ = vocabulary_.find(unknown);
    if (part.flag("byte_fallback", false)) {
      byte_fallback_ = true;
      for (unsigned b = 0; b < 256; ++b) bytes_[b] = vocabulary_.find(fmt::format("<0x{:02X}>", b)).value_or(-1);
    }
    read_merges(part);
  }

  void encode(std::string_view piece, std::vector<int>& ids) const override {
    if (ignore_merges_)
      if (const auto whole = vocabulary_.find(piece)) return ids.push_back(*whole);
    std::vector<Symbol> symbols = split(piece);
    merge(symbols);
    for (int i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next)
      ids.push_back(symbols[static_cast<std::size_t>(i)].id);
  }

 private:
  struct Symbol {
    int id = 0, previous = -1, next = -1;
  };
  struct Candidate {
    int rank, at, left, right, id;                  ///< `left` and `right`: what stood there when it was found
    bool operator<(const Candidate& other) const {  // the heap's top is the largest
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  static std::uint64_t key(int left, int right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }

  void read_merges(const JsonPart& part) {
    const auto& merges = part.list("merges", kMaxTokens);
    merges_.reserve(merges.size());
    int rank = 0;
    for (const auto& merge : merges) {
      std::string left, right;
      if (merge.is_string()) {
        const std::string& text = merge.get_ref<const std::string&>();
        const std::size_t space = text.find(' ', text.starts_with(' ') ? 1 : 0);
        if (space == text.npos) part.refuse("merges", "pairs of tokens");
        left = text.substr(0, space);
        right = text.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0].get<std::string>();
        right = merge[1].get<std::string>();
      } else {
        part.refuse("merges", "pairs of tokens");
      }
      const std::string joined =
          left + (!prefix_.empty() && right.starts_with(prefix_) ? right.substr(prefix_.size()) : right);
      const auto a = vocabulary_.find(left), b = vocabulary_.find(right), both = vocabulary_.find(joined);
      if (!a || !b || !both) part.refuse(fmt::format("merges/{}", rank), "tokens of the vocabulary");
      merges_.try_emplace(key(*a, *b), Merge{rank++, *both});
    }
  }

  /// Characters as symbols; what is not in the vocabulary as bytes or unknown.
  std::vector<Symbol> split(std::string_view piece) const {
    std::vector<Symbol> symbols;
    const auto append = [&](int id) {
      const int n = static_cast<int>(symbols.size());
      symbols.push_back({id, n - 1, -1});
      if (n > 0) symbols[static_cast<std::size_t>(n - 1)].next = n;
    };
    bool after_unknown = false;
    for (std::size_t at = 0; at < piece.size();) {
      const std::size_t begin = at;
      next_code_point(piece, at);
      std::string symbol = (begin > 0 ? prefix_ : "") + std::string(piece.substr(begin, at - begin));
      if (at == piece.size()) symbol += suffix_;
      if (const auto id = vocabulary_.find(symbol)) {
        append(*id);
        after_unknown = false;
        continue;
      }
      if (byte_fallback_ && spell(symbol, append)) {
        after_unknown = false;
        continue;
      }
      if (unknown_ && !(fuse_unknown_ && after_unknown)) append(*unknown_);
      after_unknown = true;
    }
    return symbols;
  }

  template <class Append>
  bool spell(const std::string& symbol, const Append& append) const {
    for (const char byte : symbol)
      if (bytes_[static_cast<unsigned char>(byte)] < 0) return false;
    for (const char byte : symbol) append(bytes_[static_cast<unsigned char>(byte)]);
    return true;
  }

  void merge(std::vector<Symbol>& symbols) const {
    std::priority_queue<Candidate> heap;
    const auto offer = [&](int at) {
      if (at < 0) return;
      const Symbol& left = symbols[static_cast<std::size_t>(at)];
      if (left.next < 0) return;
      const Symbol& right = symbols[static_cast<std::size_t>(left.next)];
      const auto found = merges_.find(key(left.id, right.id));
      if (found != merges_.end()) heap.push({found->second.rank, at, left.id, right.id, found->second.id});
    };
    for (int i = 0; i + 1 < static_cast<int>(symbols.size()); ++i) offer(i);
    while (!heap.empty()) {
      const Candidate best = heap.top();
      heap.pop();
      Symbol& left = symbols[static_cast<std::size_t>(best.at)];
      if (left.id != best.left || left.next < 0) continue;  // merged meanwhile
      Symbol& right = symbols[static_cast<std::size_t>(left.next)];
      if (right.id != best.right) continue;
      left.id = best.id;
      right.id = -1;
      left.next = right.next;
      if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = best.at;
      offer(left.previous);
      offer(best.at);
    }
  }

  std::string prefix_, suffix_;
  bool fuse_unknown_ = false, ignore_merges_ = false, byte_fallback_ = false;
  std::optional<int> unknown_;
  std::array<int, 256> bytes_{};
  std::unordered_map<std::uint64_t, Merge> merges_;
};

}  // namespace

std::unique_ptr<const TokenModel> make_bpe(const JsonPart& part) { return std::make_unique<const Bpe>(part); }

}  // namespace morph::text
