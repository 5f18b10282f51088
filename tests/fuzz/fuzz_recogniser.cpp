// Any bytes as a recogniser's tokenizer.json: read, or an Error{weights} says why not; whatever tokens it has, any of
// them can be spelled.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "modalities/audio/recognise/token_text.h"
#include "morph/error.h"
#include "tests/fuzz/scratch_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace morph;
  static const fuzz::ScratchFolder folder;
  folder.write("tokenizer.json", data, size);
  try {
    const audio::TokenText tokens = audio::TokenText::read(folder.path() / "tokenizer.json");
    std::vector<int> some{-1, 0, 1, tokens.size() - 1, tokens.size(), 1 << 30};
    const std::string text = tokens.text(some);
    if (audio::valid_utf8(text) != text) std::abort();
    (void)tokens.special("<|endoftext|>");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::weights) std::abort();
  }
  return 0;
}
