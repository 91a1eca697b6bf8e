// NCCL among the ranks of one group, on streams: nothing here waits for the GPU. A group lists its ranks
// in an order that all members share.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend/messages.hpp"
#include "kernels/device_ops.hpp"

struct ncclComm;

namespace tw::gpu {

enum class Number : std::uint8_t { bf16, fp32, fp64 };
std::int64_t size_of(Number number);

class Peers {
 public:
  // All members together, in the same order where they make several; messages carry the name of the new
  // communicator from the first to the others.
  Peers(Group group, Messages& messages);
  ~Peers();
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  // Pieces of `bytes` each, in the order of the group; the piece may be its place in the whole.
  void all_gather(const void* piece, std::int64_t bytes, void* whole, Stream stream) const;
  struct Values {
    Number number;
    std::int64_t count;
  };
  void all_reduce(Values values, const void* in, void* out, Stream stream) const;  // out may be in
  // values.count of the sum to each member; the piece may be this rank's place in the whole.
  void reduce_scatter(Values values, const void* whole, void* piece, Stream stream) const;
  // Pieces that differ in size: bytes[i] from, or counts[i] of the sum to, member i.
  void all_gather_v(const void* piece, Sizes bytes, void* whole, Stream stream) const;
  void reduce_scatter_v(Number number, Sizes counts, const void* whole, void* piece, Stream stream) const;
  // Bytes to and from member i, side by side.
  struct Cut {
    const void* out;
    Sizes out_bytes;
    void* in;
    Sizes in_bytes;
  };
  void all_to_all(std::span<const Cut> cuts, Stream stream) const;  // all at once
  void send(std::int32_t member, const void* data, std::int64_t bytes, Stream stream) const;
  void receive(std::int32_t member, void* data, std::int64_t bytes, Stream stream) const;

 private:
  ncclComm* comm_ = nullptr;
  std::vector<Rank> group_;
  Messages& messages_;
  std::size_t own_ = 0;
};

}  // namespace tw::gpu
