// tensor/write: the tensors of a stream as one array. Tensors of one shape are stacked, one row each; a single one
// stays as it is. NumPy's .npy (version 1.0 or 2.0), .safetensors (one tensor, "tensor"), or JSON for people.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "morph/error.h"
#include "morph/output_file.h"
#include "morph/registry.h"

namespace morph::builtin {
namespace {

using Type = TensorPayload::Type;

struct TypeNames {
  const char* numpy;
  const char* safetensors;
  std::size_t size;
};

/// bfloat16 is not NumPy's: it is written as F32.
TypeNames names_of(Type type) {
  switch (type) {
    case Type::f32:
      return {"<f4", "F32", 4};
    case Type::f16:
      return {"<f2", "F16", 2};
    case Type::bf16:
      return {nullptr, "BF16", 2};
    case Type::i32:
      return {"<i4", "I32", 4};
    case Type::u8:
      return {"|u1", "U8", 1};
  }
  return {nullptr, "", 0};
}

float half(std::uint16_t bits) {
  const unsigned sign = bits >> 15U, exponent = (bits >> 10U) & 31U, fraction = bits & 1023U;
  float value = 0;
  if (exponent == 0)
    value = static_cast<float>(fraction) * 0x1p-24f;
  else
    value = std::bit_cast<float>(exponent == 31 ? 0x7F800000U | fraction << 13U
                                                : (exponent + 112U) << 23U | fraction << 13U);
  return sign != 0 ? -value : value;
}

double value_at(const TensorPayload& tensor, std::size_t i) {
  const auto load = [&](auto value) {
    std::memcpy(&value, tensor.data.data() + i * sizeof value, sizeof value);
    return value;
  };
  switch (tensor.type) {
    case Type::f32:
      return load(float{});
    case Type::f16:
      return half(load(std::uint16_t{}));
    case Type::bf16:
      return std::bit_cast<float>(static_cast<std::uint32_t>(load(std::uint16_t{})) << 16U);
    case Type::i32:
      return load(std::int32_t{});
    case Type::u8:
      return load(std::uint8_t{});
  }
  return 0;
}

std::size_t elements(const TensorPayload& tensor) {
  std::size_t n = 1;
  for (const std::int64_t d : tensor.shape) n *= static_cast<std::size_t>(std::max<std::int64_t>(0, d));
  return n;
}

struct Row {
  std::uint64_t sequence = 0, epoch = 0;
  std::shared_ptr<const TensorPayload> tensor;
};

struct WriteState final : StageState {
  std::vector<Row> rows;
  void flush(std::uint64_t epoch) override {
    std::erase_if(rows, [&](const Row& row) { return row.epoch < epoch; });
  }
};

/// All rows as one array; shape outermost first.
struct Whole {
  Type type = Type::f32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> data;
};

std::string join(const std::vector<std::int64_t>& shape, const char* after_one) {
  std::string text;
  for (const std::int64_t d : shape) text += (text.empty() ? "" : ", ") + std::to_string(d);
  return text + (shape.size() == 1 ? after_one : "");
}

std::string npy_header(const Whole& whole) {
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                 names_of(whole.type).numpy, join(whole.shape, ","));
  const bool wide = text.size() + 64 > 0xFFFF;
  const std::size_t n_fixed = wide ? 12 : 10;
  text.append((64 - (n_fixed + text.size() + 1) % 64) % 64, ' ');
  text += '\n';
  std::string header("\x93NUMPY", 6);
  header += static_cast<char>(wide ? 2 : 1);
  header += '\0';
  for (std::size_t i = 0; i < n_fixed - 8; ++i) header += static_cast<char>((text.size() >> (8 * i)) & 0xFF);
  return header + text;
}

std::string safetensors_header(const Whole& whole, const std::string& provenance) {
  nlohmann::ordered_json header;
  if (!provenance.empty()) header["__metadata__"] = {{"morph", provenance}};
  header["tensor"] = {
      {"dtype", names_of(whole.type).safetensors}, {"shape", whole.shape}, {"data_offsets", {0, whole.data.size()}}};
  std::string text = header.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string bytes;
  for (std::size_t i = 0; i < 8; ++i) bytes += static_cast<char>((text.size() >> (8 * i)) & 0xFF);
  return bytes + text;
}

class Write final : public SimpleStage<WriteState> {
 public:
  Write(std::string path, std::string format, std::string provenance)
      : path_(std::move(path)), format_(std::move(format)), provenance_(std::move(provenance)) {}

  std::unique_ptr<StageState> open(const OpenContext&) const override { return std::make_unique<WriteState>(); }

  StepStatus step_one(WriteState& state, StageIo& io) const override {
    while (io.available(0) > 0) {
      const Packet packet = io.take(0);
      if (packet.kind == PacketKind::revise)
        std::erase_if(state.rows, [&](const Row& row) { return row.sequence >= packet.since; });
      if (!packet.payload) continue;
      const TensorPayload& tensor = packet.as<TensorPayload>();
      if (tensor.data.size() != elements(tensor) * names_of(tensor.type).size)
        throw Error(ErrorCode::internal, "tensor/write", "expected as many bytes as the shape says, found others");
      state.rows.push_back({packet.sequence, packet.epoch, packet.share<TensorPayload>()});
    }
    if (!io.ended(0)) return StepStatus::need_input;
    const std::string bytes = format_ == "json" ? json(state) : binary(state);
    if (path_ == "-") {
      if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() || std::fflush(stdout) != 0)
        throw Error(ErrorCode::resource, "stdout", fmt::format("writing failed ({})", std::strerror(errno)));
    } else {
      OutputFile file(path_);
      file.write(std::as_bytes(std::span(bytes)));
      file.finish();
    }
    return StepStatus::done;
  }

 private:
  Whole stack(const WriteState& state) const {
    Whole whole;
    if (state.rows.empty()) {
      whole.shape = {0};
      return whole;
    }
    const TensorPayload& first = *state.rows.front().tensor;
    const bool widen = first.type == Type::bf16 && format_ == "npy";
    whole.type = widen ? Type::f32 : first.type;
    whole.shape.assign(first.shape.rbegin(), first.shape.rend());
    if (state.rows.size() > 1) whole.shape.insert(whole.shape.begin(), static_cast<std::int64_t>(state.rows.size()));
    for (const auto& [sequence, epoch, row] : state.rows) {
      if (row->shape != first.shape || row->type != first.type)
        throw Error(ErrorCode::format, path_,
                    fmt::format("expected tensors of one shape and type to stack, found {} beside {}; write JSON",
                                join(row->shape, ""), join(first.shape, "")));
      if (!widen) {
        whole.data.insert(whole.data.end(), row->data.begin(), row->data.end());
        continue;
      }
      for (std::size_t i = 0; i < elements(*row); ++i) {
        const auto bits = std::bit_cast<std::array<std::byte, 4>>(static_cast<float>(value_at(*row, i)));
        whole.data.insert(whole.data.end(), bits.begin(), bits.end());
      }
    }
    return whole;
  }

  std::string binary(const WriteState& state) const {
    const Whole whole = stack(state);
    std::string bytes = format_ == "npy" ? npy_header(whole) : safetensors_header(whole, provenance_);
    bytes.append(reinterpret_cast<const char*>(whole.data.data()), whole.data.size());
    return bytes;
  }

  std::string json(const WriteState& state) const {
    nlohmann::ordered_json document, rows = nlohmann::ordered_json::array();
    for (const auto& [sequence, epoch, row] : state.rows) {
      nlohmann::ordered_json values = nlohmann::ordered_json::array();
      const bool whole_numbers = row->type == Type::i32 || row->type == Type::u8;
      for (std::size_t i = 0; i < elements(*row); ++i)
        if (whole_numbers)
          values.push_back(static_cast<std::int64_t>(value_at(*row, i)));
        else
          values.push_back(value_at(*row, i));
      rows.push_back({{"shape", std::vector<std::int64_t>(row->shape.rbegin(), row->shape.rend())},
                      {"values", std::move(values)}});
    }
    document["tensors"] = std::move(rows);
    if (!provenance_.empty()) document["morph"] = provenance_;
    return document.dump() + "\n";
  }

  std::string path_, format_, provenance_;
};

std::string format_for(const std::string& path, const std::string& asked) {
  if (asked != "auto") return asked;
  const std::string suffix = std::filesystem::path(path).extension().string();
  if (suffix == ".npy" || suffix == ".safetensors") return suffix.substr(1);
  return "json";
}

}  // namespace

void register_tensor_write(Registry& registry) {
  StageSpec spec;
  spec.name = "tensor/write";
  spec.help = "Writes tensors to a file, stacked where their shapes agree, or as JSON to standard output (\"-\").";
  spec.inputs = {{"tensor", {{"tensor", {}}}, "what is written", false}};
  spec.params = {{.name = "path",
                  .type = ParamType::path,
                  .default_value = std::string("-"),
                  .help = "file; - is standard output"},
                 {.name = "format",
                  .type = ParamType::string,
                  .default_value = std::string("auto"),
                  .help = "auto: by the file's suffix, JSON where it says nothing",
                  .choices = {"auto", "npy", "safetensors", "json"}},
                 {.name = "provenance",
                  .type = ParamType::string,
                  .default_value = {},
                  .help = "how it was made, kept in JSON and safetensors"}};
  spec.load = StageLoad::blocking;
  spec.sink_of = "tensor";
  spec.suffixes = {".npy", ".safetensors"};
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const Params& params = context.params;
    const std::string& path = params.get_string("path");
    return std::make_shared<const Write>(path, format_for(path, params.get_string("format")),
                                         params.has("provenance") ? params.get_string("provenance") : "");
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::builtin
