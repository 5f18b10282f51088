// Bounds-checked reader of a ModelProto's top-level fields; see onnx_file.h. Wire format: a varint tag (field << 3 |
// type) before each field; type 0 is a varint, 1 eight bytes, 2 length-delimited, 5 four bytes.
#include "delegates/openvino/onnx_file.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "morph/error.h"
#include "morph/regular_file.h"

namespace morph::openvino {
namespace {

constexpr std::uint64_t kMaxMetadataBytes = 64ull << 20;
constexpr std::uint32_t kGraphField = 7, kMetadataField = 14;

class ProtoReader {
 public:
  ProtoReader(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  struct Field {
    std::uint32_t number = 0;
    std::span<const std::byte> bytes;  ///< of length-delimited fields
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
        varint();
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

 private:
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
    ::close(descriptor);
    if (data_ == MAP_FAILED)
      throw Error(ErrorCode::weights, file.string(), "expected a model file, found an empty or unreadable one");
  }
  ~FileMapping() { ::munmap(data_, size_); }
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  void* data_ = MAP_FAILED;
  std::size_t size_ = 0;
};

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

bool contains(const std::filesystem::path& file, std::string_view word) {
  const FileMapping mapping(file);
  const auto bytes = mapping.bytes();
  return ::memmem(bytes.data(), bytes.size(), word.data(), word.size()) != nullptr;
}

}  // namespace morph::openvino
