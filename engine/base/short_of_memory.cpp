// See short_of_memory.h. The words are those of the C and C++ libraries, ggml, libllama, OpenVINO, oneDNN, TBB, OpenCV
// and FFmpeg, read in their sources.
#include "base/short_of_memory.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <new>
#include <string>
#include <system_error>

#include "base/machine_memory.h"

namespace morph {

bool says_short_of_memory(std::string_view text) {
  static constexpr std::array<std::string_view, 10> kWords = {"bad_alloc",
                                                              "bad allocation",
                                                              "cannot allocate",
                                                              "failed to allocate",
                                                              "could not allocate",
                                                              "out of memory",
                                                              "insufficient memory",
                                                              "not enough memory",
                                                              "resource temporarily unavailable",
                                                              "failed to map segment"};
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::any_of(kWords.begin(), kWords.end(),
                     [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

bool is_short_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  if (const auto* system = dynamic_cast<const std::system_error*>(&error);
      system != nullptr &&
      (system->code() == std::errc::not_enough_memory || system->code() == std::errc::resource_unavailable_try_again))
    return true;
  return says_short_of_memory(error.what());
}

bool no_room_for(std::uint64_t bytes) {
  const std::uint64_t available = available_memory();
  return (available != 0 && available < bytes) || address_space_left() < bytes;
}

}  // namespace morph
