// Makes GGUF bytes by hand, honest or damaged: every field is written as it is given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace morph::testing {

class GgufBytes {
 public:
  template <class T>
  GgufBytes& put(T value) {
    const auto* at = reinterpret_cast<const std::byte*>(&value);
    body_.insert(body_.end(), at, at + sizeof value);
    return *this;
  }
  GgufBytes& text(std::string_view text) {
    put<std::uint64_t>(text.size());
    const auto bytes = std::as_bytes(std::span(text));
    body_.insert(body_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  /// A key with its type; the value follows by put() and text().
  GgufBytes& key(std::string_view name, std::uint32_t type) {
    ++n_keys;
    return text(name).put(type);
  }
  /// A key that holds an array; its elements follow.
  GgufBytes& array(std::string_view name, std::uint32_t element, std::uint64_t n) {
    return key(name, 9).put(element).put(n);
  }
  GgufBytes& tensor(std::string_view name, const std::vector<std::int64_t>& ne, std::uint32_t type,
                    std::uint64_t offset) {
    ++n_tensors;
    text(name).put(static_cast<std::uint32_t>(ne.size()));
    for (const std::int64_t d : ne) put(d);
    return put(type).put(offset);
  }

  /// The file, with `n_data` bytes 0, 1, 2, ... behind the padding (none when n_data is 0).
  std::vector<std::byte> bytes(std::size_t n_data = 0, std::size_t alignment = 32) const {
    GgufBytes head;
    for (const char c : std::string_view("GGUF")) head.put(c);
    head.put(version).put(n_tensors).put(n_keys);
    std::vector<std::byte> all = head.body_;
    all.insert(all.end(), body_.begin(), body_.end());
    if (n_data > 0) all.resize((all.size() + alignment - 1) / alignment * alignment);
    for (std::size_t i = 0; i < n_data; ++i) all.push_back(static_cast<std::byte>(i));
    return all;
  }

  std::uint32_t version = 3;
  std::uint64_t n_keys = 0, n_tensors = 0;

 private:
  std::vector<std::byte> body_;
};

}  // namespace morph::testing
