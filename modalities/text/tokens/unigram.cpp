// Viterbi over the characters of a piece: every token that fits somewhere is an edge with its log probability; a
// character that no token spells costs ten more than the worst token.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "tokens/code_points.h"
#include "tokens/models.h"

namespace morph::text {
namespace {

constexpr double kUnknownPenalty = 10.0;

class Unigram final : public TokenModel {
 public:
  explicit Unigram(const JsonPart& part) {
    const JsonPart vocab = part.at("vocab");
    if (!vocab.json.is_array()) part.refuse("vocab", "a list of tokens with scores");
    vocabulary_.read(vocab);
    if (part.find("unk_id") != nullptr) unknown_ = static_cast<int>(part.integer("unk_id", 0, vocabulary_.size() - 1));
    worst_ = *std::min_element(vocabulary_.scores().begin(), vocabulary_.scores().end()) - kUnknownPenalty;
    if (part.flag("byte_fallback", false)) {
      byte_fallback_ = true;
      for (unsigned b = 0; b < 256; ++b) bytes_[b] = vocabulary_.find(fmt::format("<0x{:02X}>", b)).value_or(-1);
    }
  }

  void encode(std::string_view piece, std::vector<int>& ids) const override {
    struct Place {
      double score = -std::numeric_limits<double>::infinity();
      std::size_t from = 0;
      int id = -1;  ///< -1: unknown
    };
    std::vector<Place> places(piece.size() + 1);
    places[0].score = 0;
    const auto offer = [&](std::size_t from, std::size_t to, double score, int id) {
      if (places[from].score + score > places[to].score) places[to] = {places[from].score + score, from, id};
    };
    for (std::size_t at = 0; at < piece.size();) {
      std::size_t next = at;
      next_code_point(piece, next);
      bool whole = false;  // a token spells just this character
      vocabulary_.prefixes(piece.substr(at), [&](int id, std::size_t n) {
        offer(at, at + n, vocabulary_.scores()[static_cast<std::size_t>(id)], id);
        whole = whole || at + n == next;
      });
      if (!whole) offer(at, next, worst_, -1);
      at = next;
    }
    std::vector<std::pair<std::size_t, std::size_t>> cut;
    for (std::size_t at = piece.size(); at > 0; at = places[at].from) cut.emplace_back(places[at].from, at);
    std::reverse(cut.begin(), cut.end());
    for (std::size_t i = 0; i < cut.size();) {
      if (const int id = places[cut[i].second].id; id >= 0) {
        ids.push_back(id);
        ++i;
        continue;
      }
      const std::size_t begin = cut[i].first;  // unknown characters in a row are one token
      while (i < cut.size() && places[cut[i].second].id < 0) ++i;
      unknown(piece.substr(begin, cut[i - 1].second - begin), ids);
    }
  }

 private:
  void unknown(std::string_view text, std::vector<int>& ids) const {
    const bool spelled = byte_fallback_ && std::none_of(text.begin(), text.end(), [&](char byte) {
                           return bytes_[static_cast<unsigned char>(byte)] < 0;
                         });
    if (spelled)
      for (const char byte : text) ids.push_back(bytes_[static_cast<unsigned char>(byte)]);
    else if (unknown_)
      ids.push_back(*unknown_);
  }

  std::optional<int> unknown_;
  double worst_ = 0;
  bool byte_fallback_ = false;
  std::array<int, 256> bytes_{};
};

}  // namespace

std::unique_ptr<const TokenModel> make_unigram(const JsonPart& part) { return std::make_unique<const Unigram>(part); }

}  // namespace morph::text
