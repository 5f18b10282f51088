// Any bytes as a safetensors file: they parse, or an Error{weights} says why not.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "morph/error.h"
#include "tensor/weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    for (const auto& tensor :
         morph::tensor::parse_safetensors({reinterpret_cast<const std::byte*>(data), size}, "fuzz"))
      if (tensor.elements() <= 4096) (void)morph::tensor::to_f32(tensor);
  } catch (const morph::Error& error) {
    if (error.code() != morph::ErrorCode::weights) std::abort();
  }
  return 0;
}
