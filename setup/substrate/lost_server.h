// What a client of a remote device does when the server is gone: as published the process ends (abort). Here every
// question that is open or comes later is answered at once with zeros, and the loss is counted; whoever computes on the
// device compares the count before and after and reports an error with the device's name (engine/tensor/remote.h).
// Included by ggml-rpc.cpp, put there by setup/substrate.sh.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

namespace morph_lost {

struct Losses {
  std::mutex mutex;
  std::map<std::string, uint64_t> counts;
};

inline Losses& losses() {
  static Losses* all = new Losses;  // never destroyed: connections may end after static objects
  return *all;
}

inline void add(const std::string& endpoint) {
  Losses& all = losses();
  std::lock_guard<std::mutex> lock(all.mutex);
  ++all.counts[endpoint];
}

// answer: what an unanswered question is taken to have been told. The fields that others divide by or that must not be
// null get a harmless value; nothing is ever read through such an address.
inline void answer(void* output, size_t size, bool must_not_be_zero) {
  if (output == nullptr || size == 0) return;
  memset(output, 0, size);
  if (must_not_be_zero && size >= sizeof(uint64_t)) {
    const uint64_t harmless = 4096;
    memcpy(output, &harmless, sizeof(harmless));
  }
}

}  // namespace morph_lost

// How many connections to this endpoint were lost or could not be made, since the process began.
extern "C" inline uint64_t morph_rpc_losses(const char* endpoint) {
  morph_lost::Losses& all = morph_lost::losses();
  std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.counts.find(endpoint);
  return found == all.counts.end() ? 0 : found->second;
}
