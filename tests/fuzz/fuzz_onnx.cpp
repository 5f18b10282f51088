// Any bytes as an ONNX file's outer layers: they are counted or refused, within bounds.
#include <cstddef>
#include <cstdint>
#include <span>

#include "delegates/openvino/onnx_file.h"
#include "morph/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    morph::openvino::parse_onnx(bytes, "fuzz.onnx");
    morph::openvino::count_onnx_weights(bytes, "fuzz.onnx");
  } catch (const morph::Error& error) {
    if (error.code() != morph::ErrorCode::weights) __builtin_trap();
  }
  return 0;
}
