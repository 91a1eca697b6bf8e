// What the ranks of a group exchange: an interface, so that a test can put faults between a trainer and
// its transport. Buffers are plain pointers; a group lists its ranks in an order that all members share.
#pragma once

#include <cstdint>
#include <span>

#include "topology/ids.hpp"

namespace tw {

using Group = std::span<const Rank>;  // this process is one of them
using Sizes = std::span<const std::int64_t>;

class Messages {
 public:
  virtual ~Messages() = default;
  virtual Rank self() const = 0;

  // Pieces in the order of the group; of equal size, or of `bytes[i]` each.
  virtual void all_gather(Group group, const void* piece, std::int64_t bytes, void* whole) = 0;
  virtual void all_gather_v(Group group, const void* piece, Sizes bytes, void* whole) = 0;
  // out: out_bytes[i] to member i, side by side; in: in_bytes[i] from member i.
  virtual void all_to_all_v(Group group, const void* out, Sizes out_bytes, void* in, Sizes in_bytes) = 0;
  virtual void all_reduce(Group group, double* values, std::int64_t count) = 0;
  virtual void all_reduce(Group group, float* values, std::int64_t count) = 0;
  // counts[i] values of the sum go to member i.
  virtual void reduce_scatter(Group group, const double* whole, Sizes counts, double* piece) = 0;
  virtual void reduce_scatter(Group group, const float* whole, Sizes counts, float* piece) = 0;

  // The buffer of a send may be reused at once. Pairs match by (ranks, tag) in order.
  virtual void send(Rank to, std::int32_t tag, const void* data, std::int64_t bytes) = 0;
  virtual void receive(Rank from, std::int32_t tag, void* data, std::int64_t bytes) = 0;
  virtual void finish_sends() = 0;
};

}  // namespace tw
