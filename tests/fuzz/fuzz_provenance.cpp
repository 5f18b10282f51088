// Any bytes as an output of morph: they hold a record, none, or an Error{format} says what is wrong with it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "morph/error.h"
#include "morph/provenance.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace morph;
  try {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    if (const auto record = find_provenance(bytes, "fuzz"); record && embed_provenance(*record).empty()) std::abort();
    const std::string text(bytes);
    const std::string json = text_as_json(text);
    if (json.empty()) std::abort();
    (void)from_hexadecimal(text);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::format) std::abort();
  }
  return 0;
}
