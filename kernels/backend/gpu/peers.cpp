#include "kernels/backend/gpu/peers.hpp"

#include <nccl.h>

#include <algorithm>

#include "kernels/backend/gpu/check.hpp"
#include "topology/check.hpp"

namespace tw::gpu {
namespace {

constexpr std::int32_t kTag = (1 << 20) + 7;  // above those of values between stages

ncclDataType_t type_of(Number number) {
  switch (number) {
    case Number::bf16:
      return ncclBfloat16;
    case Number::fp32:
      return ncclFloat32;
    default:
      return ncclFloat64;
  }
}

std::size_t unsigned_of(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

}  // namespace

std::int64_t size_of(Number number) {
  return number == Number::bf16 ? 2 : number == Number::fp32 ? 4 : 8;
}

Peers::Peers(Group group, Messages& messages) : group_(group.begin(), group.end()), messages_(messages) {
  const auto found = std::find(group_.begin(), group_.end(), messages.self());
  TW_CHECK(found != group_.end());
  own_ = unsigned_of(found - group_.begin());
  ncclUniqueId id{};
  if (own_ == 0) {
    NCCL_CHECK(ncclGetUniqueId(&id));
    for (const Rank rank : group_) {
      if (rank != messages.self()) messages.send(rank, kTag, &id, sizeof id);
    }
  } else {
    messages.receive(group_.front(), kTag, &id, sizeof id);
  }
  NCCL_CHECK(ncclCommInitRank(&comm_, static_cast<int>(group_.size()), id, static_cast<int>(own_)));
}

Peers::~Peers() {
  ncclCommDestroy(comm_);
}

void Peers::all_gather(const void* piece, std::int64_t bytes, void* whole, Stream stream) const {
  NCCL_CHECK(ncclAllGather(piece, whole, unsigned_of(bytes), ncclInt8, comm_, stream));
}

void Peers::all_reduce(Values values, const void* in, void* out, Stream stream) const {
  NCCL_CHECK(
      ncclAllReduce(in, out, unsigned_of(values.count), type_of(values.number), ncclSum, comm_, stream));
}

void Peers::reduce_scatter(Values values, const void* whole, void* piece, Stream stream) const {
  NCCL_CHECK(ncclReduceScatter(whole, piece, unsigned_of(values.count), type_of(values.number), ncclSum,
                               comm_, stream));
}

void Peers::all_gather_v(const void* piece, Sizes bytes, void* whole, Stream stream) const {
  auto* to = static_cast<char*>(whole);
  NCCL_CHECK(ncclGroupStart());
  for (std::size_t i = 0; i < group_.size(); to += bytes[i++]) {
    if (bytes[i] > 0)
      NCCL_CHECK(
          ncclBroadcast(piece, to, unsigned_of(bytes[i]), ncclInt8, static_cast<int>(i), comm_, stream));
  }
  NCCL_CHECK(ncclGroupEnd());
}

void Peers::reduce_scatter_v(Number number, Sizes counts, const void* whole, void* piece,
                             Stream stream) const {
  const auto* from = static_cast<const char*>(whole);
  NCCL_CHECK(ncclGroupStart());
  for (std::size_t i = 0; i < group_.size(); from += counts[i++] * size_of(number)) {
    if (counts[i] > 0)
      NCCL_CHECK(ncclReduce(from, piece, unsigned_of(counts[i]), type_of(number), ncclSum,
                            static_cast<int>(i), comm_, stream));
  }
  NCCL_CHECK(ncclGroupEnd());
}

void Peers::all_to_all(std::span<const Cut> cuts, Stream stream) const {
  NCCL_CHECK(ncclGroupStart());
  for (const Cut& cut : cuts) {
    const auto* out = static_cast<const char*>(cut.out);
    auto* in = static_cast<char*>(cut.in);
    for (std::size_t i = 0; i < group_.size(); ++i) {
      if (cut.out_bytes[i] > 0) send(static_cast<std::int32_t>(i), out, cut.out_bytes[i], stream);
      if (cut.in_bytes[i] > 0) receive(static_cast<std::int32_t>(i), in, cut.in_bytes[i], stream);
      out += cut.out_bytes[i], in += cut.in_bytes[i];
    }
  }
  NCCL_CHECK(ncclGroupEnd());
}

void Peers::send(std::int32_t member, const void* data, std::int64_t bytes, Stream stream) const {
  NCCL_CHECK(ncclSend(data, unsigned_of(bytes), ncclInt8, member, comm_, stream));
}

void Peers::receive(std::int32_t member, void* data, std::int64_t bytes, Stream stream) const {
  NCCL_CHECK(ncclRecv(data, unsigned_of(bytes), ncclInt8, member, comm_, stream));
}

}  // namespace tw::gpu
