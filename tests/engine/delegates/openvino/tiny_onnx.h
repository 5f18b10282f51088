// Writes small ONNX models for tests: a protobuf writer of the few messages that a graph needs (onnx.proto3).
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace morph::testing {

/// A protobuf message as bytes.
class ProtoMessage {
 public:
  ProtoMessage& number(int field, std::uint64_t value) {
    varint(static_cast<std::uint64_t>(field) << 3);
    varint(value);
    return *this;
  }
  ProtoMessage& text(int field, const std::string& bytes) {
    varint((static_cast<std::uint64_t>(field) << 3) | 2);
    varint(bytes.size());
    bytes_ += bytes;
    return *this;
  }
  ProtoMessage& message(int field, const ProtoMessage& inner) { return text(field, inner.bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }
  std::string bytes_;
};

struct TinyNode {
  std::string op;
  std::vector<std::string> inputs, outputs;
  std::string attribute{};  ///< an integer's name; empty: none
  std::uint64_t attribute_value = 0;
};

/// Weights. `type` is TensorProto.DataType: 2 is u8, 3 is i8.
struct TinyConstant {
  std::string name;
  int type = 3;
  std::vector<std::uint64_t> shape;
  std::string bytes;
};

/// A model of F32 vectors of any length: `inputs` and `outputs` are names, each of shape [n] with n unknown.
inline std::string tiny_onnx(const std::vector<TinyNode>& nodes, const std::vector<std::string>& inputs,
                             const std::vector<std::string>& outputs,
                             const std::vector<std::pair<std::string, std::string>>& metadata = {},
                             const std::vector<TinyConstant>& constants = {}) {
  const auto value = [](const std::string& name) {
    const ProtoMessage shape = ProtoMessage().message(1, ProtoMessage().text(2, "n"));
    const ProtoMessage tensor = ProtoMessage().number(1, 1).message(2, shape);
    return ProtoMessage().text(1, name).message(2, ProtoMessage().message(1, tensor));
  };
  ProtoMessage graph;
  for (const TinyNode& node : nodes) {
    ProtoMessage written;
    for (const std::string& name : node.inputs) written.text(1, name);
    for (const std::string& name : node.outputs) written.text(2, name);
    written.text(4, node.op);
    if (!node.attribute.empty())
      written.message(5, ProtoMessage().text(1, node.attribute).number(3, node.attribute_value).number(20, 2));
    graph.message(1, written);
  }
  graph.text(2, "tiny");
  for (const TinyConstant& constant : constants) {
    ProtoMessage tensor;
    for (const std::uint64_t n : constant.shape) tensor.number(1, n);
    graph.message(
        5, tensor.number(2, static_cast<std::uint64_t>(constant.type)).text(8, constant.name).text(9, constant.bytes));
  }
  for (const std::string& name : inputs) graph.message(11, value(name));
  for (const std::string& name : outputs) graph.message(12, value(name));
  ProtoMessage model;
  model.number(1, 8).message(7, graph).message(8, ProtoMessage().number(2, 15));
  for (const auto& [key, text] : metadata) model.message(14, ProtoMessage().text(1, key).text(2, text));
  return model.bytes();
}

}  // namespace morph::testing
