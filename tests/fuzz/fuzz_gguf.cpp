// Any bytes as a GGUF file: they parse, or an Error{weights} says why not; what is parsed can be read in full. Then the
// language model's checks on the same metadata.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "modalities/backbone/llama/model_file.h"
#include "morph/error.h"
#include "tensor/weights/gguf.h"

namespace {

void read_all(const morph::tensor::GgufValue& value, int depth) {
  (void)value.integers();
  (void)value.numbers();
  (void)value.texts();
  if (depth > 5) std::abort();
  if (value.type() == morph::tensor::GgufType::array && value.size() <= 4096)
    for (const morph::tensor::GgufValue& item : value.items()) read_all(item, depth + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace morph;
  try {
    const tensor::GgufContents contents = tensor::parse_gguf({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
    for (const auto& [key, value] : contents.metadata) read_all(value, 0);
    for (const tensor::StoredTensor& tensor : contents.tensors) try {
        if (tensor.elements() <= 4096) (void)tensor::to_f32(tensor);
      } catch (const Error& error) {  // a type that ggml cannot read back
        if (error.code() != ErrorCode::weights) std::abort();
      }
    const backbone::ModelFacts facts = backbone::read_model_facts(contents.metadata, "fuzz");
    (void)backbone::cache_bytes(facts, {});
    backbone::check_loadable(contents.metadata, facts, "fuzz");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::weights) std::abort();
  }
  return 0;
}
