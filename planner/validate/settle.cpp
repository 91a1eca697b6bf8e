#include "planner/validate/settle.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tw::validate {
namespace {

void settle_dp(Layout& l, const SettleAsk& ask, std::vector<std::string>& near) {
  const std::int64_t inner = std::int64_t{l.tp} * l.pp * l.cp;
  if (ask.said.dp && *ask.said.dp * inner == ask.job.gpus) {
    l.dp = *ask.said.dp;
    return;
  }
  if (ask.job.gpus % inner != 0) return;  // legality says it
  l.dp = static_cast<std::int32_t>(ask.job.gpus / inner);
  near.push_back(fmt::format("layout.dp: {} = gpus/(tp*pp*cp)", l.dp));
}

void settle_experts(Layout& l, const SettleAsk& ask, std::vector<std::string>& near) {
  if (!ask.job.model->has_moe()) {
    l.ep = l.etp = 1;
    return;
  }
  const std::int64_t ranks = std::int64_t{l.dp} * l.cp * l.tp;
  if (ranks % (std::int64_t{l.ep} * l.etp) == 0) return;
  if (l.etp > 1 && ranks % l.ep == 0) {
    near.push_back(fmt::format("layout.etp: 1, as ep {} * etp {} does not divide the {} ranks of a stage",
                               l.ep, l.etp, ranks));
    l.etp = 1;
    return;
  }
  const auto fitting = static_cast<std::int32_t>(std::gcd<std::int64_t>(ranks, l.ep));
  near.push_back(
      fmt::format("layout.ep: {} of {}, the largest group in the {} ranks of a stage", fitting, l.ep, ranks));
  l.ep = fitting;
  if (ranks % (std::int64_t{l.ep} * l.etp) != 0) l.etp = 1;
}

void settle_shards(Layout& l, std::vector<std::string>& near) {
  if (l.hsdp == 1 && l.zero > 0) l.zero = 0;  // a shard group of one replicates
  const bool experts = l.ep > 1 && l.edp() > 1;
  if (l.dp * l.cp == 1 && !experts) l.zero = 0;
  if (l.zero == 0 || l.hsdp >= l.dp) l.hsdp = 0;
  if (l.hsdp != 0 && l.dp % l.hsdp != 0) {
    near.push_back(fmt::format("layout.hsdp_shard: all of dp, as {} does not divide {}", l.hsdp, l.dp));
    l.hsdp = 0;
  }
  if (l.hsdp != 0 && l.edp() % l.expert_shard() != 0) l.hsdp = 0;
}

void settle_pipeline(Layout& l, const SettleAsk& ask, std::vector<std::string>& near) {
  if (l.pp == 1) l.vpp = 1, l.schedule = kSchedule1F1B;
  if (l.vpp > 1 && (l.schedule == kSchedule1F1B || l.schedule == kScheduleGpipe))
    l.schedule = kScheduleInterleaved;
  if (l.vpp == 1 && l.schedule == kScheduleInterleaved) l.schedule = kSchedule1F1B;
  const std::int32_t layers = ask.job.model->layers();
  const std::int64_t chunks = std::int64_t{l.pp} * l.vpp;
  if (chunks > layers + 2 || chunks <= 1) return;
  if (!ask.stage_ends.empty() && l.vpp == 1) {
    l.split = even_list_split(layers, l.pp, ask.stage_ends);
    near.push_back(fmt::format("layout.split: {} layers, {} modules before and {} after them, cut evenly",
                               layers, ask.stage_ends[0], ask.stage_ends[1]));
    return;
  }
  const bool ends = layers % chunks == 0 || (layers + 1) % chunks == 0 || (layers + 2) % chunks == 0;
  if (chunks <= layers && ask.job.model->mtp_layers == 0 && (l.vpp == 1 || ends)) return;
  l.split = near_even_split(layers, static_cast<std::int32_t>(chunks), ask.job.model->mtp_layers);
  near.push_back(fmt::format("layout.split: {} layers on {} chunks, embedding and head counted as layers",
                             layers, chunks));
}

// Layers of the stage that holds most, as full:N counts them.
std::int32_t widest(const Layout& l, std::int32_t layers) {
  return (layers + l.pp - 1) / l.pp;
}

void settle_recompute(Layout& l, const SettleAsk& ask) {
  if (!l.recompute.full) return;
  const std::int32_t most = widest(l, ask.job.model->layers());
  if (ask.recomputed_share > 0)
    l.recompute.full_layers =
        std::max(1, static_cast<std::int32_t>(std::lround(ask.recomputed_share * most)));
  if (l.recompute.full_layers >= most) l.recompute.full_layers = 0;
}

}  // namespace

std::vector<std::int32_t> even_list_split(std::int32_t layers, std::int32_t stages,
                                          const std::vector<std::int32_t>& ends) {
  const std::int32_t all = layers + ends[0] + ends[1];
  std::vector<std::int32_t> split = {};
  for (std::int32_t i = 0; i < stages; ++i) split.push_back(all / stages + (i < all % stages ? 1 : 0));
  split.front() -= ends[0], split.back() -= ends[1];
  return split;
}

std::vector<std::int32_t> near_even_split(std::int32_t layers, std::int32_t chunks, std::int32_t mtp) {
  std::vector<std::int32_t> split = {};
  // Embedding and head count as a layer each; with multi-token prediction the last chunk holds a layer and a
  // head more per module and the embedding counts as nothing (Megatron-Bridge
  // recipes/deepseek/deepseek_v3.py).
  const std::int32_t front = mtp > 0 ? 0 : 1, back = 1 + 2 * mtp, all = layers + front + back;
  for (std::int32_t i = 0; i < chunks; ++i) split.push_back(all / chunks);
  // The remainder from the second chunk on: the ends hold embedding and head, which take time too.
  for (std::int32_t i = 0; i < all % chunks; ++i) ++split[static_cast<std::size_t>((1 + i) % chunks)];
  split.front() -= front, split.back() -= back;
  for (std::size_t i = 0; split.back() < 0; ++i) --split[i], ++split.back();
  return split;
}

void settle(Layout& layout, const SettleAsk& ask, std::vector<std::string>& near) {
  settle_dp(layout, ask, near);
  settle_experts(layout, ask, near);
  if (layout.tp == 1) layout.sp = false;
  if (layout.cp == 1) layout.cp_kind = CpKind::zigzag;
  if (layout.ep == 1) layout.dispatch = Dispatch::direct;
  settle_shards(layout, near);
  settle_pipeline(layout, ask, near);
  settle_recompute(layout, ask);
}

}  // namespace tw::validate
