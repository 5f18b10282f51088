// The outer layer of a .onnx file (protobuf ModelProto): checked field by field and searched for metadata_props without
// reading the graph, so that a truncated or foreign file is named before OpenVINO sees it.
// Source: onnx.proto3 (ModelProto.graph = 7, .metadata_props = 14; StringStringEntryProto key = 1, value = 2).
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace morph::openvino {

struct OnnxFileHead {
  bool has_graph = false;
  std::map<std::string, std::string> metadata;
};

/// Throws Error{weights} naming `where` when the bytes are not a whole ModelProto. Metadata is limited to 64 MiB.
OnnxFileHead parse_onnx(std::span<const std::byte> bytes, const std::string& where);
/// The same on a file, which is mapped, not read.
OnnxFileHead read_onnx_head(const std::filesystem::path& file);
/// Whether the file's bytes contain `word` (an operator's name). Throws Error{weights} for an unreadable file.
bool contains(const std::filesystem::path& file, std::string_view word);

}  // namespace morph::openvino
