// LinkQueue: the packets between one output port and one input port, with the link's policy.
//
// While the consumer steps it holds the packets that were there when the step began (hold / give_back), so that a step
// sees a fixed picture and can be undone; what arrives meanwhile waits behind them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "morph/packet.h"
#include "morph/pipeline.h"

namespace morph::exec {

/// Not thread-safe: belongs to the scheduler.
class LinkQueue {
 public:
  LinkQueue() = default;
  /// `max_bytes` of payloads, 0: no bound. One packet always fits.
  LinkQueue(std::size_t capacity, QueuePolicy policy, std::uint64_t max_bytes = 0);

  /// Adds a packet. One that is older than the last flush, or that comes after close(), is discarded. A lossy link
  /// drops older packets when full.
  void push(Packet packet);
  /// Front packet out; only while nothing is held and the queue is not empty.
  Packet pop();
  /// Puts a packet before all others without counting it (a flush towards a reader).
  void push_front(Packet packet);

  /// Moves all packets to a step. The queue's length still counts them.
  void hold(std::deque<Packet>& into);
  /// Takes back what the step left, the first `n_taken` being consumed.
  void give_back(std::deque<Packet>& from, std::size_t n_taken);

  /// Drops packets of epochs below `epoch`; later ones will be discarded as they arrive. True when it was news.
  bool flush(std::uint64_t epoch);
  /// The producer sends no more.
  void end() { ended_ = true; }
  /// The consumer takes no more: everything is discarded, now and later.
  void close();
  void clear();
  /// Allows as many more packets and bytes as it was made with (an artificial deadlock was found). False when it has
  /// grown kMostGrowth times: what piles up then does so without end.
  bool grow();
  static constexpr std::size_t kMostGrowth = 64;

  bool empty() const { return packets_.empty() && n_held_ == 0; }
  std::size_t length() const { return packets_.size() + n_held_; }
  std::size_t capacity() const { return capacity_; }
  std::uint64_t bytes() const { return bytes_; }  ///< of payloads, those a step holds too
  /// Room for a producer: lossy and closed links always have some.
  std::size_t space() const;
  bool full() const { return space() == 0; }
  bool ended() const { return ended_; }
  bool closed() const { return closed_; }
  QueuePolicy policy() const { return policy_; }
  std::uint64_t epoch() const { return epoch_; }
  std::uint64_t dropped() const { return dropped_; }  ///< lost to the policy (not to flushes)
  std::size_t max_length() const { return max_length_; }
  const std::deque<Packet>& packets() const { return packets_; }
  /// For a resumed run.
  void restore(std::deque<Packet> packets, std::uint64_t epoch, std::size_t capacity, bool ended, bool closed);

 private:
  static std::uint64_t size_of(const Packet& packet) { return packet.payload ? packet.payload->bytes() : 0; }
  void keep_within_policy();
  void count_bytes();

  std::deque<Packet> packets_;
  std::size_t n_held_ = 0;
  std::uint64_t bytes_ = 0, held_bytes_ = 0, max_bytes_ = 0, grow_bytes_ = 0;
  std::size_t n_grown_ = 0;
  std::size_t capacity_ = 8, grow_by_ = 8, max_length_ = 0;
  QueuePolicy policy_ = QueuePolicy::block;
  bool ended_ = false, closed_ = false;
  std::uint64_t epoch_ = 0, dropped_ = 0;
};

}  // namespace morph::exec
