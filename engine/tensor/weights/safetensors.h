// The safetensors format: 8 bytes little-endian header length, JSON {name: {dtype, shape, data_offsets}}, then the
// data. The header is written by whoever made the file, so everything in it is checked against the file before a tensor
// is handed out.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tensor/weights/stored_tensor.h"

namespace morph::tensor {

/// Tensors of one file's bytes. `name` is used in errors. Throws Error{weights} naming file and tensor for a header
/// that is too long, not UTF-8 JSON, has duplicate names, unknown dtypes, absurd shapes, or data that overlap, lie
/// outside the file or do not fill it.
std::vector<StoredTensor> parse_safetensors(std::span<const std::byte> bytes, const std::string& name);

}  // namespace morph::tensor
