// TraceLog: see trace.h.
#include "exec/trace.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

namespace morph::exec {

namespace {

constexpr int kProcess = 1;

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string microseconds(StreamTime time) {
  char text[40];
  std::snprintf(text, sizeof text, "%.3f", static_cast<double>(time.count()) / 1000.0);
  return text;
}

}  // namespace

TraceLog::TraceLog(std::string process_name, std::size_t limit)
    : process_name_(std::move(process_name)), limit_(limit) {}

std::uint32_t TraceLog::name_id(std::string_view name) {
  const auto found = ids_.find(name);
  if (found != ids_.end()) return found->second;
  const auto id = static_cast<std::uint32_t>(names_.size());
  names_.emplace_back(name);
  ids_.emplace(std::string(name), id);
  return id;
}

void TraceLog::add(Event event) {
  if (events_.size() >= limit_) {
    ++lost_;
    return;
  }
  events_.push_back(event);
}

void TraceLog::slice(std::string_view thread, std::string_view name, StreamTime start, StreamTime duration,
                     std::size_t batch) {
  add({Kind::slice, name_id(thread), name_id(name), 0, start, duration, batch});
}

void TraceLog::counter(std::string_view name, StreamTime time, std::uint64_t value) {
  add({Kind::counter, 0, name_id(name), 0, time, StreamTime{0}, value});
}

void TraceLog::instant(std::string_view thread, std::string_view name, StreamTime time, std::string_view where) {
  add({Kind::instant, name_id(thread), name_id(name), name_id(where), time, StreamTime{0}, 0});
}

std::string TraceLog::to_json() const {
  std::string out =
      "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"lost_events\":" + std::to_string(lost_) + "},\"traceEvents\":[\n";
  const std::string pid = "\"pid\":" + std::to_string(kProcess);
  out += "{\"ph\":\"M\",\"name\":\"process_name\"," + pid + ",\"args\":{\"name\":" + quoted(process_name_) + "}}";
  std::set<std::uint32_t> threads;
  for (const Event& event : events_)
    if (event.kind != Kind::counter) threads.insert(event.thread);
  for (const std::uint32_t thread : threads)
    out += ",\n{\"ph\":\"M\",\"name\":\"thread_name\"," + pid + ",\"tid\":" + std::to_string(thread + 1) +
           ",\"args\":{\"name\":" + quoted(names_[thread]) + "}}";
  for (const Event& event : events_) {
    const std::string head =
        ",\n{\"name\":" + quoted(names_[event.name]) + "," + pid + ",\"ts\":" + microseconds(event.time);
    const std::string tid = ",\"tid\":" + std::to_string(event.thread + 1);
    switch (event.kind) {
      case Kind::slice:
        out += head + tid + ",\"ph\":\"X\",\"cat\":\"step\",\"dur\":" + microseconds(event.duration) +
               ",\"args\":{\"batch\":" + std::to_string(event.value) + "}}";
        break;
      case Kind::counter:
        out += head + ",\"ph\":\"C\",\"args\":{\"packets\":" + std::to_string(event.value) + "}}";
        break;
      case Kind::instant:
        out += head + tid + ",\"ph\":\"i\",\"s\":\"p\",\"args\":{\"stage\":" + quoted(names_[event.detail]) + "}}";
        break;
    }
  }
  return out + "\n]}\n";
}

}  // namespace morph::exec
