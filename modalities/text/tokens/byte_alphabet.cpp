// Printable bytes stand for themselves, the others for U+0100 upwards, in order.
#include "tokens/byte_alphabet.h"

#include "tokens/code_points.h"

namespace morph::text {
namespace {

constexpr std::array<char32_t, 256> alphabet() {
  std::array<char32_t, 256> codes{};
  char32_t next = 256;
  for (unsigned b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    codes[b] = printable ? static_cast<char32_t>(b) : next++;
  }
  return codes;
}
constexpr std::array<char32_t, 256> kAlphabet = alphabet();

constexpr std::array<int, 324> inverse() {
  std::array<int, 324> bytes{};
  for (int& byte : bytes) byte = -1;
  for (unsigned b = 0; b < 256; ++b) bytes[kAlphabet[b]] = static_cast<int>(b);
  return bytes;
}
constexpr std::array<int, 324> kBytes = inverse();

}  // namespace

std::string spell_bytes(std::string_view bytes) {
  std::string spelled;
  spelled.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_utf8(spelled, kAlphabet[static_cast<unsigned char>(byte)]);
  return spelled;
}

std::string unspell_bytes(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  for (std::size_t at = 0; at < token.size();) {
    const std::size_t begin = at;
    const char32_t code = next_code_point(token, at);
    if (code < kBytes.size() && kBytes[code] >= 0)
      bytes += static_cast<char>(kBytes[code]);
    else
      bytes += token.substr(begin, at - begin);
  }
  return bytes;
}

}  // namespace morph::text
