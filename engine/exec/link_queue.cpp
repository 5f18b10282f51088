// LinkQueue: see link_queue.h.
#include "exec/link_queue.h"

#include <algorithm>
#include <utility>

namespace morph::exec {

LinkQueue::LinkQueue(std::size_t capacity, QueuePolicy policy, std::uint64_t max_bytes)
    : max_bytes_(max_bytes),
      grow_bytes_(max_bytes),
      capacity_(std::max<std::size_t>(capacity, 1)),
      grow_by_(capacity_),
      policy_(policy) {}

/// After packets went other than by the front.
void LinkQueue::count_bytes() {
  bytes_ = held_bytes_;
  for (const Packet& packet : packets_) bytes_ += size_of(packet);
}

void LinkQueue::push(Packet packet) {
  if (closed_ || packet.epoch < epoch_) return;
  const std::uint64_t size = size_of(packet);
  packets_.push_back(std::move(packet));
  bytes_ += size;
  keep_within_policy();
  max_length_ = std::max(max_length_, length());
}

Packet LinkQueue::pop() {
  Packet packet = std::move(packets_.front());
  packets_.pop_front();
  bytes_ -= std::min(bytes_, size_of(packet));
  return packet;
}

void LinkQueue::push_front(Packet packet) {
  if (!closed_) packets_.push_front(std::move(packet));
}

void LinkQueue::hold(std::deque<Packet>& into) {
  into.swap(packets_);
  packets_.clear();
  n_held_ = into.size();
  held_bytes_ = bytes_;
}

void LinkQueue::give_back(std::deque<Packet>& from, std::size_t n_taken) {
  n_held_ = 0;
  held_bytes_ = 0;
  if (!closed_ && n_taken < from.size()) {
    from.erase(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(n_taken));
    std::erase_if(from, [this](const Packet& packet) { return packet.epoch < epoch_; });
    for (Packet& packet : packets_) from.push_back(std::move(packet));
    packets_.swap(from);
    keep_within_policy();
  }
  from.clear();
  count_bytes();
}

bool LinkQueue::flush(std::uint64_t epoch) {
  if (epoch <= epoch_) return false;
  epoch_ = epoch;
  std::erase_if(packets_, [epoch](const Packet& packet) { return packet.epoch < epoch; });
  count_bytes();
  return true;
}

void LinkQueue::close() {
  closed_ = true;
  clear();
}

void LinkQueue::clear() {
  packets_.clear();
  bytes_ = held_bytes_;
}

bool LinkQueue::grow() {
  if (n_grown_ >= kMostGrowth) return false;
  ++n_grown_;
  capacity_ += grow_by_;
  max_bytes_ += grow_bytes_;
  return true;
}

std::size_t LinkQueue::space() const {
  if (closed_ || policy_ != QueuePolicy::block) return capacity_;
  if (max_bytes_ > 0 && bytes_ >= max_bytes_) return 0;
  return length() >= capacity_ ? 0 : capacity_ - length();
}

void LinkQueue::restore(std::deque<Packet> packets, std::uint64_t epoch, std::size_t capacity, bool ended,
                        bool closed) {
  packets_ = std::move(packets);
  count_bytes();
  epoch_ = epoch;
  capacity_ = std::max<std::size_t>(capacity, 1);
  ended_ = ended;
  closed_ = closed;
}

void LinkQueue::keep_within_policy() {
  const std::size_t limit = policy_ == QueuePolicy::latest ? 1 : capacity_;
  if (policy_ == QueuePolicy::block) return;
  while (packets_.size() > limit) {
    bytes_ -= std::min(bytes_, size_of(packets_.front()));
    packets_.pop_front();
    ++dropped_;
  }
}

}  // namespace morph::exec
