// Any bytes as a tokenizer.json, a rank file or a word list: refused with Error{weights}, or a tokenizer that encodes
// and decodes.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "modalities/text/tokens/tokenizer_file.h"
#include "morph/error.h"
#include "morph/tokenizer.h"

namespace {

void use(const morph::text::Tokenizer& tokenizer) {
  for (const std::string_view text : {"Hello, wörld 猫 123", "", "\xFF a\xC3"}) {
    const morph::text::Encoded encoded = tokenizer.encode(text, {true, 64});
    (void)tokenizer.decode(encoded.ids);
    for (const int id : encoded.ids) (void)tokenizer.piece(id);
  }
}

template <class Make>
void attempt(const Make& make) {
  try {
    use(*make());
  } catch (const morph::Error& error) {
    if (error.code() != morph::ErrorCode::weights) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace morph::text;
  if (size > 1 << 16) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  attempt([&] { return parse_tokenizer(bytes, "tokenizer.json"); });
  attempt([&] { return make_json_tokenizer(document_of_ranks(bytes, {}, "ranks"), "ranks"); });
  attempt([&] { return make_json_tokenizer(document_of_words(bytes, {}, "words"), "words"); });
  return 0;
}
