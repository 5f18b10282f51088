// Bounds-checked reader of a ModelProto's top-level fields; see onnx_file.h. Wire format: a varint tag (field << 3 |
// type) before each field; type 0 is a varint, 1 eight bytes, 2 length-delimited, 5 four bytes.
#include "delegates/openvino/onnx_file.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "morph/error.h"
#include "morph/regular_file.h"

namespace morph::openvino {
namespace {

constexpr std::uint64_t kMaxMetadataBytes = 64ull << 20;
constexpr std::uint64_t kMostElements = std::uint64_t{1} << 40;
constexpr std::uint32_t kGraphField = 7, kMetadataField = 14;

class ProtoReader {
 public:
  ProtoReader(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  struct Field {
    std::uint32_t number = 0;
    std::span<const std::byte> bytes;  ///< of length-delimited fields
    std::uint64_t value = 0;           ///< of varints
    bool delimited = false;
  };

  bool at_end() const { return at_ == bytes_.size(); }

  Field next() {
    const std::uint64_t tag = varint();
    Field field;
    field.number = static_cast<std::uint32_t>(tag >> 3);
    if (field.number == 0 || tag >> 32 != 0) fail("a field with an impossible number");
    switch (tag & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        field.delimited = true;
        field.bytes = take(varint());
        break;
      case 5:
        take(4);
        break;
      default:
        fail("an unknown wire type");
    }
    return field;
  }

  /// A packed list of numbers is varints to its end.
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ >= bytes_.size()) fail("the end of the file inside a number");
      const auto byte = static_cast<std::uint64_t>(bytes_[at_++]);
      value |= (byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    fail("a number of more than 64 bits");
  }

 private:
  std::span<const std::byte> take(std::uint64_t n) {
    if (n > bytes_.size() - at_)
      fail(fmt::format("a field of {} bytes with {} bytes left (truncated?)", n, bytes_.size() - at_));
    const auto part = bytes_.subspan(at_, static_cast<std::size_t>(n));
    at_ += static_cast<std::size_t>(n);
    return part;
  }

  [[noreturn]] void fail(const std::string& found) const {
    throw Error(ErrorCode::weights, where_,
                fmt::format("expected an ONNX model, found {} at byte {}; fetch the file again", found, at_));
  }

  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::size_t at_ = 0;
};

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class FileMapping {
 public:
  explicit FileMapping(const std::filesystem::path& file) {
    const int descriptor = open_regular_file(file, ErrorCode::weights);
    struct stat status {};
    if (::fstat(descriptor, &status) == 0 && status.st_size > 0) {
      size_ = static_cast<std::size_t>(status.st_size);
      data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    }
    const int why = errno;
    ::close(descriptor);
    errno = why;
    if (data_ == MAP_FAILED && size_ > 0) fail(file, std::string("it cannot be mapped: ") + std::strerror(errno));
    if (data_ == MAP_FAILED)
      throw Error(ErrorCode::weights, file.string(), "expected a model file, found an empty or unreadable one");
  }
  ~FileMapping() { ::munmap(data_, size_); }
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  [[noreturn]] static void fail(const std::filesystem::path& file, const std::string& why) {
    const bool memory = errno == ENOMEM || errno == EAGAIN || errno == EMFILE || errno == ENFILE;
    throw Error(memory ? ErrorCode::resource : ErrorCode::weights, file.string(), why);
  }

  void* data_ = MAP_FAILED;
  std::size_t size_ = 0;
};

/// Adds a TensorProto: reals to `counted`, 8-bit integers to `integers`.
void count_tensor(std::span<const std::byte> bytes, const std::string& where, OnnxWeights& counted,
                  std::map<std::string, std::uint64_t>& integers) {
  std::uint64_t n = 1, type = 0;
  std::string name;
  const auto dimension = [&](std::uint64_t d) { n = d != 0 && n > kMostElements / d ? kMostElements : n * d; };
  ProtoReader tensor(bytes, where);
  while (!tensor.at_end()) {
    const ProtoReader::Field field = tensor.next();
    if (field.number == 1 && !field.delimited) dimension(field.value);
    if (field.number == 1 && field.delimited)
      for (ProtoReader packed(field.bytes, where); !packed.at_end();) dimension(packed.varint());
    if (field.number == 2) type = field.value;
    if (field.number == 8 && field.delimited) name = text_of(field.bytes);
  }
  // TensorProto.DataType: FLOAT 1, UINT8 2, INT8 3, FLOAT16 10, DOUBLE 11, BFLOAT16 16.
  const auto add = [&](std::uint64_t& sum) { sum = std::min(sum + std::min(n, kMostElements), kMostElements); };
  if (type == 1 || type == 10 || type == 11 || type == 16) add(counted.real);
  if (type == 2 || type == 3) add(integers[name]);
}

/// A NodeProto: the tensor of a Constant counts, and which integers a ConvInteger takes as its weights is noted.
void count_node(std::span<const std::byte> bytes, const std::string& where, OnnxWeights& counted,
                std::map<std::string, std::uint64_t>& integers, std::set<std::string>& of_convolutions) {
  std::string op;
  std::vector<std::string> inputs;
  std::vector<std::span<const std::byte>> attributes;
  ProtoReader node(bytes, where);
  while (!node.at_end()) {
    const ProtoReader::Field field = node.next();
    if (!field.delimited) continue;
    if (field.number == 1) inputs.push_back(text_of(field.bytes));
    if (field.number == 4) op = text_of(field.bytes);
    if (field.number == 5) attributes.push_back(field.bytes);
  }
  if (op == "ConvInteger" && inputs.size() > 1) of_convolutions.insert(inputs[1]);
  if (op != "Constant") return;
  for (const std::span<const std::byte> each : attributes)
    for (ProtoReader attribute(each, where); !attribute.at_end();)
      if (const ProtoReader::Field field = attribute.next(); field.number == 5 && field.delimited)
        count_tensor(field.bytes, where, counted, integers);
}

}  // namespace

OnnxFileHead parse_onnx(std::span<const std::byte> bytes, const std::string& where) {
  OnnxFileHead head;
  ProtoReader reader(bytes, where);
  std::uint64_t metadata_bytes = 0;
  while (!reader.at_end()) {
    const ProtoReader::Field field = reader.next();
    if (field.number == kGraphField && field.delimited) head.has_graph = true;
    if (field.number != kMetadataField || !field.delimited) continue;
    metadata_bytes += field.bytes.size();
    if (metadata_bytes > kMaxMetadataBytes) throw Error(ErrorCode::weights, where, "metadata of more than 64 MiB");
    std::string key, value;
    ProtoReader entry(field.bytes, where);
    while (!entry.at_end()) {
      const ProtoReader::Field part = entry.next();
      if (part.number == 1 && part.delimited) key = text_of(part.bytes);
      if (part.number == 2 && part.delimited) value = text_of(part.bytes);
    }
    head.metadata[key] = value;
  }
  if (!head.has_graph)
    throw Error(ErrorCode::weights, where, "expected an ONNX model, found no graph in it; is it another kind of file?");
  return head;
}

OnnxFileHead read_onnx_head(const std::filesystem::path& file) {
  const FileMapping mapping(file);
  return parse_onnx(mapping.bytes(), file.string());
}

OnnxWeights count_onnx_weights(std::span<const std::byte> bytes, const std::string& where) {
  OnnxWeights counted;
  std::map<std::string, std::uint64_t> integers;  // by name
  std::set<std::string> of_convolutions;
  ProtoReader model(bytes, where);
  while (!model.at_end()) {
    const ProtoReader::Field graph = model.next();
    if (graph.number != kGraphField || !graph.delimited) continue;
    ProtoReader parts(graph.bytes, where);
    while (!parts.at_end()) {
      const ProtoReader::Field part = parts.next();
      if (part.number == 1 && part.delimited) count_node(part.bytes, where, counted, integers, of_convolutions);
      if (part.number == 5 && part.delimited) count_tensor(part.bytes, where, counted, integers);
    }
  }
  for (const auto& [name, n] : integers) (of_convolutions.count(name) > 0 ? counted.unfolded : counted.integer) += n;
  return counted;
}

OnnxWeights read_onnx_weights(const std::filesystem::path& file) {
  const FileMapping mapping(file);
  return count_onnx_weights(mapping.bytes(), file.string());
}

}  // namespace morph::openvino
