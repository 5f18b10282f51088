// How ChatTemplate and the program that renders for it speak to each other over a socket: lists of byte strings, each
// list a count and for each string its length, all as 8 little-endian bytes.
#pragma once

#include <sys/socket.h>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace morph::backbone {

static_assert(std::endian::native == std::endian::little);
constexpr std::uint64_t kMostStrings = 1u << 20, kMostWireBytes = 256u << 20;

inline std::string packed(const std::vector<std::string>& strings) {
  std::string bytes;
  const auto number = [&](std::uint64_t value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
  number(strings.size());
  for (const std::string& text : strings) {
    number(text.size());
    bytes += text;
  }
  return bytes;
}

/// Takes lists out of bytes as they come.
class Unpacker {
 public:
  enum class Status { more, whole, broken };

  Status add(const char* data, std::size_t n) {
    bytes_.append(data, n);
    return look();
  }
  std::vector<std::string> take() { return std::exchange(strings_, {}); }

 private:
  Status look() {
    std::uint64_t n_strings = 0, length = 0;
    if (!number(0, n_strings)) return Status::more;
    if (n_strings > kMostStrings) return Status::broken;
    for (std::size_t at = sizeof n_strings + used_; strings_.size() < n_strings; at = sizeof n_strings + used_) {
      if (!number(at, length)) return Status::more;
      if (length > kMostWireBytes || used_ + length > kMostWireBytes) return Status::broken;
      if (bytes_.size() - at - sizeof length < length) return Status::more;
      strings_.push_back(bytes_.substr(at + sizeof length, static_cast<std::size_t>(length)));
      used_ += sizeof length + static_cast<std::size_t>(length);
    }
    bytes_.erase(0, sizeof n_strings + used_);
    used_ = 0;
    return Status::whole;
  }
  bool number(std::size_t at, std::uint64_t& value) const {
    if (bytes_.size() < at + sizeof value) return false;
    std::memcpy(&value, bytes_.data() + at, sizeof value);
    return true;
  }

  std::string bytes_;
  std::size_t used_ = 0;  ///< bytes of the strings that were taken out of the list under way
  std::vector<std::string> strings_;
};

/// False when the other side is gone.
inline bool send_all(int socket, const std::string& bytes) {
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = ::send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    sent += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace morph::backbone
