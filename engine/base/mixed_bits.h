// The one way here to make unlike numbers of like ones: seeds of stages and answers, fingerprints, noise by index.
#pragma once

#include <cstdint>

namespace morph {

/// What splitmix64 adds from number to number (Steele, Lea, Flood 2014).
constexpr std::uint64_t kMixedStep = 0x9e3779b97f4a7c15ULL;

/// splitmix64's finaliser: each bit of `x` changes half of the result's.
constexpr std::uint64_t mixed_bits(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace morph
