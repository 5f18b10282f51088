// What a text sink has collected, and its written forms: plain, JSON and subtitles.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "morph/packet.h"
#include "morph/text.h"

namespace morph::wire {
class Reader;
class Writer;
}  // namespace morph::wire

namespace morph::text {

/// Puts the packets of a text stream together. Turns supersede their own earlier texts, answers grow by pieces, a
/// revise takes back what it names.
class TextDocument {
 public:
  void add(const Packet& packet);
  /// Drops answers that are not finished and older than `epoch`.
  void flush(std::uint64_t epoch);
  bool empty() const { return entries_.empty(); }
  /// What was collected, and back (Error{format} for damaged bytes).
  void save(wire::Writer& writer) const;
  void restore(wire::Reader& reader);

  std::string plain() const;
  std::string json(const std::string& provenance) const;
  /// Throws Error{format} when there is no span with times.
  /// `format`: "srt", "vtt", "ass" or "tsv".
  std::string subtitles(std::string_view format) const;

 private:
  struct Entry {
    Text text;
    std::uint64_t sequence = 0;  ///< of its first packet
    std::uint64_t epoch = 0;
    bool open = false;  ///< more of it will come
  };
  std::vector<Entry> entries_;
};

}  // namespace morph::text
