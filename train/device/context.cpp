#include "train/device/context.hpp"

#include <algorithm>

#include "topology/check.hpp"

namespace tw::train {

void* Staging::take(std::int64_t bytes) {
  const std::int64_t wanted = (bytes + 255) / 256 * 256;
  TW_CHECK(wanted <= kPart);
  if (used_ % kPart + wanted > kPart) used_ = (used_ / kPart + 1) * kPart;
  const auto part = static_cast<std::size_t>(used_ / kPart);
  while (parts_.size() <= part) parts_.push_back(std::make_unique<gpu::HostBuffer>(kPart));
  char* at = static_cast<char*>(parts_[part]->data()) + used_ % kPart;
  used_ += wanted;
  return at;
}

const gpu::Gemm& Context::gemm(const gpu::GemmCall& call) {
  lanes.touch();
  const GemmKey key{static_cast<int>(call.product), call.m, call.n, call.k, static_cast<int>(call.into)};
  const auto found = gemms_.find(key);
  return found != gemms_.end() ? found->second : gemms_.emplace(key, gpu::Gemm(blas, call)).first->second;
}

const gpu::AttentionKernel& Context::attention(const gpu::AttentionCall& call) {
  lanes.touch();
  return attentions_.try_emplace(call, dnn, call).first->second;
}

const gpu::Peers& Context::peers(std::int32_t lane, Group group) {
  const std::pair key{lane, std::vector<Rank>(group.begin(), group.end())};
  return peers_.try_emplace(key, group, messages_).first->second;
}

void Context::bound(Ticket ticket) {
  constexpr std::size_t kMost = 2;
  bounded_.push_back(ticket);
  if (bounded_.size() <= kMost) return;
  lanes.await(bounded_.front());
  bounded_.pop_front();
}

}  // namespace tw::train
