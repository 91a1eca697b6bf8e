#include "train/device/memory.hpp"

#include <algorithm>
#include <utility>

namespace tw::train {
namespace {

constexpr std::int64_t kAddresses = std::int64_t{1} << 38;  // more than any GPU has
constexpr std::uint8_t kNan = 0xff;                         // a bf16 or an fp32 of such bytes is no number

}  // namespace

Block::Block(Block&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      first_(other.first_),
      bytes_(std::exchange(other.bytes_, 0)),
      uses_(std::move(other.uses_)) {}

Block& Block::operator=(Block&& other) noexcept {
  std::swap(owner_, other.owner_), std::swap(data_, other.data_);
  std::swap(first_, other.first_), std::swap(bytes_, other.bytes_), std::swap(uses_, other.uses_);
  return *this;
}

Block::~Block() {
  if (owner_ != nullptr) owner_->give(*this);
}

void Block::used(Ticket ticket) {
  const auto same = [&](const Ticket& each) { return each.lane == ticket.lane; };
  const auto found = std::find_if(uses_.begin(), uses_.end(), same);
  found != uses_.end() ? void(*found = ticket) : uses_.push_back(ticket);
}

void Block::own(Lanes& lanes) {
  for (const Ticket ticket : std::exchange(uses_, {})) lanes.await(ticket);
}

Memory::Memory(Lanes& lanes, bool poisoned) : lanes_(lanes), poisoned_(poisoned), range_(kAddresses) {}

template <class Done>
void Memory::sweep(Done done) {
  const auto end = std::partition(waiting_.begin(), waiting_.end(), [&](const Waiting& each) {
    return !std::all_of(each.uses.begin(), each.uses.end(), done);
  });
  for (auto each = end; each != waiting_.end(); ++each) arena_.give(each->first);
  waiting_.erase(end, waiting_.end());
}

Block Memory::take(std::int64_t bytes) {
  sweep([&](Ticket ticket) { return lanes_.passed(ticket); });
  if (!arena_.fits(bytes)) sweep([&](Ticket ticket) { return lanes_.over(ticket); });
  Block out;
  out.owner_ = this, out.bytes_ = bytes;
  out.first_ = arena_.take(bytes);
  range_.grow(arena_.extent());
  out.data_ = range_.base() + out.first_;
  if (poisoned_ && bytes > 0) gpu::fill_bytes(out.data_, kNan, bytes, lanes_.compute());
  return out;
}

void Memory::give(Block& block) {
  std::erase_if(block.uses_, [&](Ticket ticket) { return lanes_.passed(ticket); });
  if (block.uses_.empty()) return arena_.give(block.first_);
  waiting_.push_back({block.first_, std::move(block.uses_)});
}

}  // namespace tw::train
