// The outer layer of a .onnx file (protobuf ModelProto): checked field by field and searched for metadata_props without
// reading the graph, so that a truncated or foreign file is named before OpenVINO sees it.
// Source: onnx.proto3 (ModelProto.graph = 7, .metadata_props = 14; StringStringEntryProto key = 1, value = 2;
// GraphProto.node = 1, .initializer = 5; NodeProto.input = 1, .op_type = 4, .attribute = 5; AttributeProto.t = 5;
// TensorProto.dims = 1, .data_type = 2, .name = 8).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>

namespace morph::openvino {

struct OnnxFileHead {
  bool has_graph = false;
  std::map<std::string, std::string> metadata;
};

/// Throws Error{weights} naming `where` when the bytes are not a whole ModelProto. Metadata is limited to 64 MiB.
OnnxFileHead parse_onnx(std::span<const std::byte> bytes, const std::string& where);
/// The same on a file, which is mapped, not read.
OnnxFileHead read_onnx_head(const std::filesystem::path& file);

/// Elements of a model's constant tensors, by what becomes of them.
struct OnnxWeights {
  std::uint64_t real = 0;      ///< floating point
  std::uint64_t integer = 0;   ///< 8 bits, which stay so
  std::uint64_t unfolded = 0;  ///< 8 bits, of convolutions, which are computed as F32
};

/// Counts them by the shapes in the file, without reading them. Throws like parse_onnx.
OnnxWeights count_onnx_weights(std::span<const std::byte> bytes, const std::string& where);
OnnxWeights read_onnx_weights(const std::filesystem::path& file);

}  // namespace morph::openvino
