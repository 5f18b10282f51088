// TraceLog: what a run did when, in Chrome's trace-event JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing
// open. One slice per step with its batch size, a counter per link for its queue, instant events for flushes and
// control events. Format: "Trace Event Format", Google, 2016.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "morph/packet.h"

namespace morph::exec {

/// Not thread-safe: used under the scheduler's lock. Names are kept once; an event is a few words. Past `limit` events
/// further ones are counted, not kept.
class TraceLog {
 public:
  explicit TraceLog(std::string process_name, std::size_t limit = 2'000'000);

  void slice(std::string_view thread, std::string_view name, StreamTime start, StreamTime duration, std::size_t batch);
  void counter(std::string_view name, StreamTime time, std::uint64_t value);
  /// `name` of a flush or control event at node `where`.
  void instant(std::string_view thread, std::string_view name, StreamTime time, std::string_view where);

  std::size_t size() const { return events_.size(); }
  std::string to_json() const;

 private:
  enum class Kind : std::uint8_t { slice, counter, instant };
  struct Event {
    Kind kind;
    std::uint32_t thread, name, detail;
    StreamTime time, duration;
    std::uint64_t value;
  };
  std::uint32_t name_id(std::string_view name);
  void add(Event event);

  std::string process_name_;
  std::size_t limit_;
  std::uint64_t lost_ = 0;
  std::map<std::string, std::uint32_t, std::less<>> ids_;
  std::vector<std::string> names_;
  std::vector<Event> events_;
};

}  // namespace morph::exec
