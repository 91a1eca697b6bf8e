// What tp, cp, ep, etp and pp must not change: FLOPs and weights summed over ranks, the transposition
// of collectives, and the order of ops, over random models and sizes that divide.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <map>

#include "costmodel/program/work.hpp"
#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

// A GEMM of m x n x k costs 2mnk in each of forward, dgrad and wgrad; attention 2 FLOPs per pair and
// feature of QK^T and of PV forward, and 5 GEMMs for these 2 backward (dV, dP, dQ, dK and QK^T again;
// Dao et al. 2022, arXiv 2205.14135, appendix B.2): counted apart.
struct Flop {
  double forward = 0, dgrad = 0, wgrad = 0, attention = 0, attention_backward = 0;
};

void add(Flop& sum, const Op& op) {
  const auto by_pass = [&](GemmPass pass, double flops) {
    (pass == GemmPass::forward ? sum.forward : pass == GemmPass::dgrad ? sum.dgrad : sum.wgrad) += flops;
  };
  if (const auto* g = std::get_if<GemmShape>(&op.work)) {
    by_pass(g->pass, 2.0 * static_cast<double>(g->m) * static_cast<double>(g->n) * static_cast<double>(g->k));
  } else if (const auto* e = std::get_if<GroupedGemmShape>(&op.work)) {
    by_pass(e->pass, 2.0 * static_cast<double>(e->groups) * e->rows * static_cast<double>(e->n) *
                         static_cast<double>(e->k));
  } else if (const auto* a = std::get_if<AttentionShape>(&op.work)) {
    const double pairs = a->pairs * static_cast<double>(a->batch * a->heads) * op.share;
    (a->backward ? sum.attention_backward : sum.attention) +=
        2 * pairs * static_cast<double>(a->head_dim + a->value_dim);
  }
}

Flop flops_of(const LayerWork& work) {
  Flop sum;
  for (const Op& op : work.forward) add(sum, op);
  for (const Op& op : work.backward) {
    if (op.term != Term::recompute) add(sum, op);
  }
  return sum;
}

std::int32_t any_of(std::initializer_list<std::int32_t> values) {
  return *rc::gen::elementOf(std::vector<std::int32_t>(values));
}

Model any_model(bool moe) {
  test::Sizes s;
  s.hidden = any_of({256, 768, 1024}), s.head_dim = any_of({64, 128}), s.heads = any_of({16, 32});
  s.kv_heads = any_of({8, 16}), s.ffn = any_of({512, 1536}), s.vocab = 4096, s.layers = 8;
  if (moe) s.experts = any_of({16, 32}), s.top_k = any_of({1, 2, 8});
  return test::small_model(s);
}

// Any legal sizes up to 8 each; attention is one micro-batch of 4096 tokens.
PassKey any_key(bool moe) {
  PassKey key;
  key.tp = any_of({1, 2, 4, 8}), key.cp = any_of({1, 2, 4});
  key.sp = key.tp > 1 && (moe || *rc::gen::arbitrary<bool>());
  key.cp_kind = any_of({0, 1}) ? CpKind::zigzag : CpKind::a2a;
  if (key.cp_kind == CpKind::a2a && key.tp * key.cp > 8) key.cp_kind = CpKind::zigzag;
  if (moe) {
    key.etp = any_of({1, 2});
    key.ep = any_of({1, 2, 8});
  }
  return key;
}

Recompute any_recompute() {
  Recompute r;
  r.full = any_of({0, 0, 0, 1}) == 1;
  if (!r.full) r.modules = static_cast<std::uint8_t>(*rc::gen::inRange(0, 64));
  return r;
}

LayerWork emitted(const Model& model, const Profile& profile, const PassKey& key,
                  const LayerKind* kind = nullptr) {
  return emit_layer({&model, &profile, key, 4096, {}}, kind ? *kind : model.kinds[0]);
}

// With replicated weights on whole tokens (no sp) a router and latent down projections run on every
// rank of tp on the same rows; everything else is cut.
void check_flops(bool moe) {
  const Model model = any_model(moe);
  const Profile profile = test::megatron();
  const PassKey key = any_key(moe);
  const Flop one = flops_of(emitted(model, profile, PassKey{}));
  const Flop cut = flops_of(emitted(model, profile, key));
  const double ranks = key.tp * key.cp;
  const auto same = [](double a, double b) { return std::abs(a - b) <= 1e-9 * std::max(a, b); };
  RC_ASSERT(same(one.forward, cut.forward * ranks));
  RC_ASSERT(same(one.dgrad, cut.dgrad * ranks));
  RC_ASSERT(same(one.wgrad, cut.wgrad * ranks));
  RC_ASSERT(same(one.attention, cut.attention * ranks));
  RC_ASSERT(same(cut.forward, cut.dgrad));
  RC_ASSERT(same(cut.forward, cut.wgrad));
  RC_ASSERT(same(cut.attention, cut.attention_backward));
}

RC_GTEST_PROP(Conservation, FlopsOfADenseLayerSummedOverRanks, ()) {
  check_flops(false);
}
RC_GTEST_PROP(Conservation, FlopsOfAnMoeLayerSummedOverRanks, ()) {
  check_flops(true);
}

// One replica of attention weights is cut over tp: cut weights add up, whole ones are equal on every
// rank. Experts are cut over ep x etp.
RC_GTEST_PROP(Conservation, WeightsOfOneReplica, ()) {
  const bool moe = *rc::gen::arbitrary<bool>();
  const Model model = any_model(moe);
  const PassKey key = any_key(moe);
  const Profile profile = test::megatron();
  for (const Weight& w : emitted(model, profile, key).weights) {
    const std::int64_t parts = w.scope == Scope::expert ? key.ep * key.etp : key.tp;
    const bool whole = w.scope == Scope::attention && w.local == w.elements;
    RC_ASSERT(whole || w.local * parts == w.elements);
    RC_ASSERT(!w.sequence_partial || (whole && key.sp));
  }
}

using Moved = std::map<std::pair<std::string, int>, std::int64_t>;  // name and kind -> bytes

Moved moved(const OpList& ops) {
  Moved out;
  for (const Op& op : ops) {
    if (const auto* c = std::get_if<CollectiveWork>(&op.work)) {
      out[{std::string(op.name), static_cast<int>(c->kind)}] += c->bytes.count;
    } else if (const auto* d = std::get_if<DispatchWork>(&op.work)) {
      out[{std::string(op.name), -1}] += d->bytes.count;
    }
  }
  return out;
}

int transposed(int kind) {
  if (kind == static_cast<int>(Collective::all_gather)) return static_cast<int>(Collective::reduce_scatter);
  if (kind == static_cast<int>(Collective::reduce_scatter)) return static_cast<int>(Collective::all_gather);
  return kind;
}

// With sp every collective has its transpose in the backward (Korthikanti et al. 2022, 4.2.2), dispatch
// and combine mirror each other; inputs are not gathered again in this profile.
RC_GTEST_PROP(Conservation, BackwardCollectivesAreTransposesOfForwardOnes, ()) {
  const bool moe = *rc::gen::arbitrary<bool>();
  const Model model = any_model(moe);
  Profile profile = test::megatron();
  profile.kernels.regather_input = false;
  PassKey key = any_key(moe);
  key.sp = key.tp > 1;
  const LayerWork work = emitted(model, profile, key);
  Moved expected;
  for (const auto& [what, bytes] : moved(work.forward))
    expected[{what.first, transposed(what.second)}] += bytes;
  RC_ASSERT(moved(work.backward) == expected);
}

// Gathering again costs one more all-gather per gathered input that a GEMM reads.
RC_GTEST_PROP(Conservation, RegatheringRepeatsTheForwardGathers, ()) {
  const Model model = any_model(false);
  Profile keeps = test::megatron(), gathers = test::megatron();
  keeps.kernels.regather_input = false;
  PassKey key = any_key(false);
  key.sp = key.tp > 1;
  const auto gathered = [&](const OpList& ops) {
    std::int64_t bytes = 0;
    for (const Op& op : ops) {
      const auto* c = std::get_if<CollectiveWork>(&op.work);
      bytes += c && c->kind == Collective::all_gather ? c->bytes.count : 0;
    }
    return bytes;
  };
  const LayerWork kept = emitted(model, keeps, key), again = emitted(model, gathers, key);
  RC_ASSERT(gathered(again.backward) == gathered(kept.backward) + gathered(kept.forward));
  RC_ASSERT(again.kept_bytes <= kept.kept_bytes);
}

void check_order(const OpList& ops) {
  for (std::size_t i = 0; i < ops.size(); ++i) {
    for (const std::int16_t index : ops[i].after) {
      RC_ASSERT(index < static_cast<std::int16_t>(i));
      if (index >= 0) RC_ASSERT(ops[static_cast<std::size_t>(index)].stream != ops[i].stream);
    }
  }
}

Model with_latent(bool moe) {
  return load_model(test::scenario("models", moe ? "deepseek-v2-lite" : "deepseek-v3"));
}

RC_GTEST_PROP(Conservation, OpsWaitForEarlierOnes, ()) {
  const bool moe = *rc::gen::arbitrary<bool>();
  const Model model = any_of({0, 1}) == 1 ? any_model(moe) : with_latent(moe);
  Profile profile = test::megatron();
  profile.kernels.tp_overlap = *rc::gen::arbitrary<bool>();
  profile.kernels.regather_input = *rc::gen::arbitrary<bool>();
  PassKey key = any_key(true);
  key.recompute = any_recompute();
  for (const LayerKind& kind : model.kinds) {
    const LayerWork work = emitted(model, profile, key, &kind);
    check_order(work.forward);
    check_order(work.backward);
    RC_ASSERT(work.forward_output < static_cast<std::int16_t>(work.forward.size()));
    RC_ASSERT(work.backward_output < static_cast<std::int16_t>(work.backward.size()));
  }
}

// Recomputation: what is made again is a part of the forward, the kept bytes shrink, and the backward
// proper is the same.
RC_GTEST_PROP(Conservation, RecomputationRepeatsForwardOpsAndKeepsLess, ()) {
  const bool moe = *rc::gen::arbitrary<bool>();
  const Model model = any_of({0, 1}) == 1 ? any_model(moe) : with_latent(moe);
  const Profile profile = test::megatron();
  PassKey key = any_key(true);
  key.cp_kind = CpKind::zigzag;  // all-to-all keeps what it exchanged: mla_up then saves nothing
  for (const LayerKind& kind : model.kinds) {
    const LayerWork plain = emitted(model, profile, key, &kind);
    PassKey again = key;
    again.recompute = any_recompute();
    const LayerWork work = emitted(model, profile, again, &kind);
    RC_ASSERT(work.kept_bytes <= plain.kept_bytes);
    std::multimap<std::string_view, int> forward;
    for (const Op& op : plain.forward) forward.emplace(op.name, 0);
    std::size_t repeated = 0;
    for (const Op& op : work.backward) {
      if (op.term != Term::recompute) continue;
      ++repeated;
      RC_ASSERT(forward.count(op.name) > 0);
    }
    RC_ASSERT(repeated <= plain.forward.size());
    const bool any = again.recompute.full || (again.recompute.modules & Recompute::core) != 0;
    RC_ASSERT(!any || repeated > 0);
    const Flop proper = flops_of(work), same = flops_of(plain);
    RC_ASSERT(proper.dgrad == same.dgrad && proper.wgrad == same.wgrad);
    RC_ASSERT(proper.attention_backward == same.attention_backward);
  }
}

// What is made again reads only what is there: kept, or made again before it. A replayed op therefore
// never comes before the replay of the op that makes its input (order of the forward).
RC_GTEST_PROP(Conservation, ReplaysOfACheckpointFollowTheForwardOrder, ()) {
  const bool moe = *rc::gen::arbitrary<bool>();
  const Model model = any_model(moe);
  const Profile profile = test::megatron();
  PassKey key = any_key(moe);
  key.recompute.modules = static_cast<std::uint8_t>(
      any_of({Recompute::attention, Recompute::mlp, Recompute::attention | Recompute::mlp,
              Recompute::mlp | Recompute::norm, Recompute::mlp | Recompute::moe_act,
              Recompute::attention | Recompute::core | Recompute::norm}));
  const LayerWork work = emitted(model, profile, key);
  const std::vector<std::string_view> halves[] = {{"norm", "qkv", "rope", "attention", "attention_out"},
                                                  {"norm", "mlp_up", "router", "top_k", "permute", "sort",
                                                   "expert_up", "activation", "mlp_down", "expert_down"}};
  for (const auto& order : halves) {
    std::ptrdiff_t last = -1;
    for (const Op& op : work.backward) {
      if (op.term != Term::recompute || op.name == "norm") continue;
      const auto found = std::find(order.begin(), order.end(), op.name);
      if (found == order.end()) continue;
      RC_ASSERT(found - order.begin() >= last);
      last = found - order.begin();
    }
  }
}

}  // namespace
}  // namespace tw
