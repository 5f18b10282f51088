// See base64.h.
#include "tokens/base64.h"

#include "morph/error.h"

namespace morph::text {

std::string decode_base64(std::string_view text, const std::string& where) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  unsigned held = 0, n_bits = 0;
  for (const char c : text) {
    unsigned value = 0;
    if (c >= 'A' && c <= 'Z')
      value = static_cast<unsigned>(c - 'A');
    else if (c >= 'a' && c <= 'z')
      value = static_cast<unsigned>(c - 'a') + 26;
    else if (c >= '0' && c <= '9')
      value = static_cast<unsigned>(c - '0') + 52;
    else if (c == '+' || c == '/')
      value = c == '+' ? 62 : 63;
    else
      throw Error(ErrorCode::weights, where, "expected base64, found another character; fetch the file again");
    held = (held << 6 | value) & 0xFFFFU;
    n_bits += 6;
    if (n_bits >= 8) {
      n_bits -= 8;
      bytes += static_cast<char>((held >> n_bits) & 0xFFU);
    }
  }
  if (n_bits == 6) throw Error(ErrorCode::weights, where, "expected whole base64, found a broken end");
  return bytes;
}

}  // namespace morph::text
