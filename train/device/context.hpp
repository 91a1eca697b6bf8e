// What all operations on one GPU share: its streams and memory, the libraries with the calls that they
// were asked for, and a communicator for each group of ranks and lane.
#pragma once

#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "kernels/backend/gpu/attention.hpp"
#include "kernels/backend/gpu/gemm.hpp"
#include "kernels/backend/gpu/peers.hpp"
#include "train/device/memory.hpp"

namespace tw::train {

// Page-locked memory of the host that the GPU reads or writes during a step; all of it is free again when
// the step is over.
class Staging {
 public:
  void* take(std::int64_t bytes);
  void reset() { used_ = 0; }

  template <class X>
  X* array(std::size_t count) {
    return static_cast<X*>(take(static_cast<std::int64_t>(count * sizeof(X))));
  }

 private:
  static constexpr std::int64_t kPart = std::int64_t{4} << 20;
  std::vector<std::unique_ptr<gpu::HostBuffer>> parts_;
  std::int64_t used_ = 0;
};

class Context {
 public:
  Context(Messages& messages, bool poisoned)
      : memory(lanes, poisoned), blas(lanes.compute()), dnn(lanes.compute()), messages_(messages) {}

  const gpu::Gemm& gemm(const gpu::GemmCall& call);
  const gpu::AttentionKernel& attention(const gpu::AttentionCall& call);
  // All members of a group ask for its communicators in one order.
  const gpu::Peers& peers(std::int32_t lane, Group group);
  Messages& messages() { return messages_; }
  // Memory that a side lane still uses after compute let it go: of at most two such at a time.
  void bound(Ticket ticket);

  // A block with these bytes in it, and the host waits: for what outlives a step.
  template <class X>
  Block holding(const std::vector<X>& values) {
    const auto bytes = static_cast<std::int64_t>(values.size() * sizeof(X));
    Block out = memory.take(bytes);
    if (bytes > 0) gpu::to_device(values.data(), out.data(), bytes, lanes.compute());
    lanes.finish();
    return out;
  }

  Lanes lanes;
  Memory memory;
  Staging staging;
  gpu::Blas blas;
  gpu::Dnn dnn;

 private:
  using GemmKey = std::tuple<int, std::int64_t, std::int64_t, std::int64_t, int>;
  Messages& messages_;
  std::deque<Ticket> bounded_;
  std::map<GemmKey, gpu::Gemm> gemms_;
  std::map<gpu::AttentionCall, gpu::AttentionKernel> attentions_;
  std::map<std::pair<std::int32_t, std::vector<Rank>>, gpu::Peers> peers_;
};

}  // namespace tw::train
