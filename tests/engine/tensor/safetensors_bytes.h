// Makes safetensors bytes in memory, honest or damaged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace morph::testing {

inline std::vector<std::byte> safetensors_bytes(const std::string& header, std::size_t n_data,
                                                std::int64_t claimed_header = -1) {
  const std::uint64_t n = claimed_header < 0 ? header.size() : static_cast<std::uint64_t>(claimed_header);
  std::vector<std::byte> bytes(sizeof(n) + header.size() + n_data);
  std::memcpy(bytes.data(), &n, sizeof(n));
  std::memcpy(bytes.data() + sizeof(n), header.data(), header.size());
  return bytes;
}

}  // namespace morph::testing
