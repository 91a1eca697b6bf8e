// Every profile loads strictly and names the source of each mechanism; turning one mechanism changes
// exactly the operations, bytes or seconds that it should, by an amount derived by hand.
#include "costmodel/profile.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

using test::h100, test::megatron, test::small_model;
using Machinery = test::Setup;  // gtest has a Setup of its own

constexpr std::int64_t kS = 1024, kH = 512, kUnit = kS * kH * 2;  // bytes of a bf16 residual

// Bytes of element-wise operations by name, and GEMMs by name.
struct Listed {
  std::map<std::string, std::int64_t> bytes;
  std::map<std::string, int> gemms;
  int synchronisations = 0;
};

Listed listed(const OpList& ops) {
  Listed out;
  for (const Op& op : ops) {
    const std::string name(op.name);
    if (const auto* e = std::get_if<Elementwise>(&op.work)) out.bytes[name] += e->bytes.count;
    if (std::holds_alternative<GemmShape>(op.work)) ++out.gemms[name];
    out.synchronisations += std::holds_alternative<Synchronise>(op.work);
  }
  return out;
}

using Change = std::function<void(Profile&)>;

struct Pair {
  LayerWork was, is;
  Listed forward_was, forward, backward_was, backward;
};

Pair turned(const Model& model, const Change& change, const PassKey& key = {}, bool head = false) {
  Profile before = megatron(), after = megatron();
  change(after);
  const auto emit = [&](const Profile& p) {
    const EmitInput input{&model, &p, key, kS, {}};
    return head ? emit_head(input) : emit_layer(input, model.kinds[0]);
  };
  Pair pair{emit(before), emit(after), {}, {}, {}, {}};
  pair.forward_was = listed(pair.was.forward), pair.forward = listed(pair.is.forward);
  pair.backward_was = listed(pair.was.backward), pair.backward = listed(pair.is.backward);
  return pair;
}

// The operations that differ between two lists, as "name: change of bytes".
std::map<std::string, std::int64_t> differences(const Listed& was, const Listed& is) {
  std::map<std::string, std::int64_t> out;
  for (const auto& [name, bytes] : was.bytes) out[name] -= bytes;
  for (const auto& [name, bytes] : is.bytes) out[name] += bytes;
  std::erase_if(out, [](const auto& item) { return item.second == 0; });
  return out;
}

using Changed = std::map<std::string, std::int64_t>;

TEST(Profiles, EachLoadsAndNamesItsSources) {
  const std::vector<std::string> names = scenario_names("frameworks");
  EXPECT_GE(names.size(), 13u);
  for (const std::string& name : names) {
    const Profile profile = load_profile(test::scenario("frameworks", name));
    EXPECT_EQ(profile.name, name);
    EXPECT_FALSE(profile.can.schedules.empty()) << name;
    std::string all;
    for (const std::string& line : profile.source) all += line + "\n";
    for (const char* mechanism :
         {"attention", "gradient", "per_kernel", "gpu_speed_spread", "spread", "sync_per_step"}) {
      EXPECT_NE(all.find(mechanism), std::string::npos) << name << ": no source for " << mechanism;
    }
  }
}

TEST(Profiles, GradientsOfReplicatedModels) {
  const Profile plain = load_profile(test::scenario("frameworks", "pytorch-2.11"));
  EXPECT_EQ(state_of(plain, 0).master, DType::bf16);
  EXPECT_EQ(state_of(plain, 3).master, DType::fp32);
  EXPECT_EQ(state_of(megatron(), 0).master, DType::fp32);
}

// Two masks of one byte an element are written, read with the gradient, and kept; each gradient is
// read and written once more.
TEST(Mechanisms, Dropout) {
  const Pair p = turned(small_model({}), [](Profile& x) { x.kernels.dropout = true; });
  EXPECT_EQ(differences(p.forward_was, p.forward), (Changed{{"add", 2 * kUnit / 2}}));
  EXPECT_EQ(differences(p.backward_was, p.backward), (Changed{{"dropout", 2 * (2 * kUnit + kUnit / 2)}}));
  EXPECT_EQ(p.is.kept_bytes - p.was.kept_bytes, 2 * kUnit / 2);
}

// Two norms: 18 passes instead of 2, 42 instead of 3; fp32 input and scaled input instead of the input.
TEST(Mechanisms, UnfusedNorm) {
  const Pair p = turned(small_model({}), [](Profile& x) { x.kernels.fused_norm = false; });
  EXPECT_EQ(differences(p.forward_was, p.forward), (Changed{{"norm", 2 * 16 * kUnit}}));
  EXPECT_EQ(differences(p.backward_was, p.backward), (Changed{{"norm", 2 * 39 * kUnit}}));
  EXPECT_EQ(p.is.kept_bytes - p.was.kept_bytes, 2 * 2 * kUnit);
}

// The second norm reads the sum from registers, and adds the other gradient of it while it writes.
TEST(Mechanisms, FusedAddNorm) {
  const Pair p = turned(small_model({}), [](Profile& x) { x.kernels.fused_add_norm = true; });
  EXPECT_EQ(differences(p.forward_was, p.forward), (Changed{{"norm", -kUnit}}));
  EXPECT_EQ(differences(p.backward_was, p.backward), (Changed{{"join", -2 * kUnit}}));
  EXPECT_EQ(p.is.kept_bytes, p.was.kept_bytes);
}

// Rotary over q and k, 8 + 4 heads of 64: 10 passes instead of 2; the merged projection stays for its v.
TEST(Mechanisms, UnfusedRope) {
  const Pair p = turned(small_model({}), [](Profile& x) { x.kernels.fused_rope = false; });
  EXPECT_EQ(differences(p.forward_was, p.forward), (Changed{{"rope", 8 * kS * 12 * 64 * 2}}));
  EXPECT_EQ(differences(p.backward_was, p.backward), (Changed{{"rope", 8 * kS * 12 * 64 * 2}}));
  EXPECT_EQ(p.is.kept_bytes - p.was.kept_bytes, kS * 12 * 64 * 2);
}

// SwiGLU, ffn 1024: 5 passes instead of 3, 9 instead of 5; the activated gate is kept.
TEST(Mechanisms, UnfusedActivation) {
  const Pair p = turned(small_model({}), [](Profile& x) { x.kernels.fused_activation = false; });
  EXPECT_EQ(differences(p.forward_was, p.forward), (Changed{{"activation", 2 * kS * 1024 * 2}}));
  EXPECT_EQ(differences(p.backward_was, p.backward), (Changed{{"activation", 4 * kS * 1024 * 2}}));
  EXPECT_EQ(p.is.kept_bytes - p.was.kept_bytes, kS * 1024 * 2);
}

// Three projections and two instead of one each; two and one sums of input gradients.
TEST(Mechanisms, SeparateProjections) {
  const Pair p = turned(small_model({}), [](Profile& x) { x.kernels.merged_projections = false; });
  EXPECT_EQ(p.forward_was.gemms,
            (std::map<std::string, int>{{"attention_out", 1}, {"mlp_down", 1}, {"mlp_up", 1}, {"qkv", 1}}));
  EXPECT_EQ(p.forward.gemms,
            (std::map<std::string, int>{{"attention_out", 1}, {"mlp_down", 1}, {"mlp_up", 2}, {"qkv", 3}}));
  EXPECT_EQ(p.backward.gemms,
            (std::map<std::string, int>{{"attention_out", 2}, {"mlp_down", 2}, {"mlp_up", 4}, {"qkv", 6}}));
  EXPECT_EQ(differences(p.forward_was, p.forward), Changed{});
  EXPECT_EQ(differences(p.backward_was, p.backward),
            (Changed{{"mlp_up", 3 * kUnit}, {"qkv", 2 * 3 * kUnit}}));
}

// GPT-3: each of four biased linears reads its gradient once more: 3h, h, 4h and h wide.
TEST(Mechanisms, BiasGradients) {
  const Model model = load_model("gpt3-175b");
  const Pair p = turned(model, [](Profile& x) { x.kernels.fused_bias_gradient = false; });
  const std::int64_t row = kS * 12288 * 2;
  EXPECT_EQ(differences(p.forward_was, p.forward), Changed{});
  EXPECT_EQ(differences(p.backward_was, p.backward),
            (Changed{{"attention_out", row}, {"mlp_down", row}, {"mlp_up", 4 * row}, {"qkv", 3 * row}}));
}

// Unfused attention keeps whole squares instead of a log-sum-exp: 5 bytes a score (Korthikanti et al.
// 2022, section 4.1), so that a layer with dropout keeps s*b*h*(34 + 5*a*s/h).
TEST(Mechanisms, UnfusedAttentionAndDropoutKeepWhatKorthikantiCounts) {
  const Model model = load_model("gpt3-175b");
  Profile profile = load_profile(test::scenario("frameworks", "megatron-2022"));
  const LayerWork work = emit_layer({&model, &profile, {}, kS, {}}, model.kinds[0]);
  EXPECT_EQ(work.kept_bytes, kS * 12288 * 34 + 5 * 96 * kS * kS);
}

// Passes over 1,000 x 1,024 logits of two bytes (padded to 1,024): 19 + 7 instead of 1 + 2.
TEST(Mechanisms, Loss) {
  const Pair p = turned(
      small_model({}),
      [](Profile& x) {
        x.kernels.fused_loss = false, x.kernels.loss_forward_passes = 19, x.kernels.loss_backward_passes = 7;
      },
      {}, true);
  EXPECT_EQ(differences(p.forward_was, p.forward), (Changed{{"loss", 18 * kS * 1024 * 2}}));
  EXPECT_EQ(differences(p.backward_was, p.backward), (Changed{{"loss", 5 * kS * 1024 * 2}}));
}

TEST(Mechanisms, PaddedVocabulary) {
  const Model model = small_model({});  // 1,000 rows
  Profile profile = megatron();
  profile.kernels.vocab_multiple = 128;
  EXPECT_EQ(local_vocab(model, profile, 1), 1024);
  EXPECT_EQ(local_vocab(model, profile, 2), 512);
  EXPECT_EQ(local_vocab(model, profile, 4), 256);
  profile.kernels.vocab_multiple = 1;
  EXPECT_EQ(local_vocab(model, profile, 1), 1000);
  EXPECT_EQ(local_vocab(model, profile, 3), 334);
}

TEST(Mechanisms, HostReadsOfTheLoss) {
  const Pair p = turned(
      small_model({}), [](Profile& x) { x.host.sync_per_microbatch += 2; }, {}, true);
  EXPECT_EQ(p.forward.synchronisations - p.forward_was.synchronisations, 2);
}

// By operator (torchtitan): with q, k, v, gate and up apart the GEMMs are q k v o gate up down; k, o and
// up are made again. Kept: the layer's input, q and v (8 heads of 64 are as wide as the residual), the
// output and statistics of attention, gate, down. The second norm's input is made again.
TEST(Mechanisms, SelectiveByOperator) {
  const Model model = small_model({.kv_heads = 8});
  Profile profile = megatron();
  profile.kernels.selective_by_operator = true, profile.kernels.merged_projections = false;
  PassKey key;
  key.recompute.modules = Recompute::core;
  const LayerWork work = emit_layer({&model, &profile, key, kS, {}}, model.kinds[0]);
  const std::int64_t ffn = kS * 1024 * 2, lse = 4 * 8 * kS;
  EXPECT_EQ(work.kept_bytes, kUnit + 2 * kUnit + kUnit + lse + ffn + kUnit);
  double again = 0;
  int attention = 0;
  for (const Op& op : work.backward) {
    if (op.term != Term::recompute) continue;
    if (const auto* g = std::get_if<GemmShape>(&op.work))
      again += op.share * static_cast<double>(g->n * g->k);
    attention += std::holds_alternative<AttentionShape>(op.work);
  }
  EXPECT_NEAR(again, 512 * 512 + 512 * 512 + 512 * 1024, 1);  // k, o, up
  EXPECT_EQ(attention, 0);
}

int all_reduces(const OpList& ops) {
  int count = 0;
  for (const Op& op : ops) {
    const auto* c = std::get_if<CollectiveWork>(&op.work);
    count += c && c->kind == Collective::all_reduce;
  }
  return count;
}

// Gate and up apart: a GEMM more in each pass, and an all-reduce more where the input is not gathered.
TEST(Mechanisms, GateApart) {
  PassKey key;
  key.tp = 2;
  const auto apart = [](Profile& x) { x.kernels.gate_apart = true; };
  const Pair p = turned(small_model({}), apart, key);
  EXPECT_EQ(p.forward.gemms.at("mlp_up"), 2);
  EXPECT_EQ(p.backward.gemms.at("mlp_up"), 4);
  EXPECT_EQ(all_reduces(p.was.backward), 2);
  EXPECT_EQ(all_reduces(p.is.backward), 3);
  key.sp = true;
  EXPECT_EQ(all_reduces(turned(small_model({}), apart, key).is.backward), 0);
}

// Padded to 1,024 on 4 ranks: a gather, 4 + 1 and 2 passes over all logits instead of 1 and 2 over 256.
TEST(Mechanisms, GatheredLogits) {
  PassKey key;
  key.tp = 4;
  const auto gathered = [](Profile& x) {
    x.kernels.gathered_logits = true, x.kernels.regather_input = false;
  };
  const Pair p = turned(small_model({}), gathered, key, true);
  EXPECT_EQ(differences(p.forward_was, p.forward), (Changed{{"loss", kS * (5 * 1024 - 256) * 2}}));
  EXPECT_EQ(differences(p.backward_was, p.backward), (Changed{{"loss", 2 * kS * (1024 - 256) * 2}}));
  EXPECT_EQ(p.is.kept_bytes - p.was.kept_bytes, kS * (1024 - 256) * 2);
}

// The replay of a layer ends when the input of its last GEMM is there: neither that GEMM nor the sum after
// it.
TEST(Mechanisms, EarlyStop) {
  PassKey key;
  key.recompute.full = true;
  const Pair p = turned(
      small_model({}), [](Profile& x) { x.kernels.early_stop = true; }, key);
  EXPECT_EQ(p.backward_was.gemms.at("mlp_down"), 3);
  EXPECT_EQ(p.backward.gemms.at("mlp_down"), 2);
  EXPECT_EQ(p.backward.gemms.at("mlp_up"), 3);
  EXPECT_EQ(differences(p.backward_was, p.backward), (Changed{{"add", -3 * kUnit}}));
  EXPECT_EQ(p.is.kept_bytes, p.was.kept_bytes);
}

// Heads exchanged over two ranks: [tokens, 512 + 2 * kv] of q, k and v out, 512 back, read and written once.
TEST(Mechanisms, HeadsArePutInOrder) {
  PassKey key;
  key.cp = 2, key.cp_kind = CpKind::a2a;
  const Pair p = turned(
      small_model({.kv_heads = 8}), [](Profile& x) { x.kernels.head_exchange_passes = 2; }, key);
  const auto copied = [](const OpList& ops) {
    std::vector<std::int64_t> out;
    for (const Op& op : ops) {
      const auto* c = std::get_if<CollectiveWork>(&op.work);
      if (c && c->kind == Collective::all_to_all) out.push_back(c->copied.count);
    }
    return out;
  };
  EXPECT_EQ(copied(p.was.forward), (std::vector<std::int64_t>{0, 0}));
  EXPECT_EQ(copied(p.is.forward), (std::vector<std::int64_t>{3 * kUnit, kUnit}));  // half the tokens, twice
  EXPECT_EQ(copied(p.is.backward), (std::vector<std::int64_t>{kUnit, 3 * kUnit}));
}

// Experts padded to a capacity have known counts: nobody asks the device for them.
TEST(Mechanisms, NoCountsAreReadUnderACapacity) {
  const auto waits = [](double capacity) {
    Profile profile = megatron();
    Model model = small_model({});
    model.kinds[0].mlp.reset();
    model.kinds[0].moe = Moe{.experts = 8, .top_k = 2, .ffn = 64};
    const LayerWork work =
        emit_layer({&model, &profile, {}, kS, {.capacity_factor = capacity}}, model.kinds[0]);
    return std::count_if(work.forward.begin(), work.forward.end(),
                         [](const Op& op) { return std::holds_alternative<Synchronise>(op.work); });
  };
  EXPECT_EQ(waits(0), 1);
  EXPECT_EQ(waits(1), 0);
}

// A routed layer passes its router, dispatch and combine once forward and twice backward; a dense one never.
// A third of it, the router's, lies before the token counts are read back.
TEST(Mechanisms, HostTimeOfRouting) {
  const auto host = [](bool routed, bool backward) {
    Profile profile = megatron();
    profile.host.per_kernel = profile.host.per_linear = Seconds(0);
    profile.host.per_routing = Seconds(1);
    Model model = small_model({});
    if (routed) {
      model.kinds[0].mlp.reset();
      model.kinds[0].moe = Moe{.experts = 8, .top_k = 2, .ffn = 64};
    }
    Machinery setup(model, h100(8), profile, 8, kS);
    const LayerWork work = emit_layer({&model, &profile, {}, kS, {}}, model.kinds[0]);
    double seconds = 0;
    for (const Op& op : backward ? work.backward : work.forward) {
      seconds += Pricer(setup.machine, Precision::bf16).price(op, {}).host;
    }
    return seconds;
  };
  EXPECT_DOUBLE_EQ(host(true, false), 1);
  EXPECT_DOUBLE_EQ(host(true, true), 2);
  EXPECT_EQ(host(false, false), 0);
  EXPECT_EQ(host(false, true), 0);
}

// The all-reduce of an input gradient waits for the weight gradient where the two are one node.
TEST(Mechanisms, CollectivesUnderTheWeightGradient) {
  PassKey key;
  key.tp = 4;
  const Pair p = turned(
      small_model({}), [](Profile& x) { x.kernels.overlap_wgrad = false; }, key);
  const auto waits_for_wgrad = [](const OpList& ops) {
    int count = 0;
    for (const Op& op : ops) {
      if (!std::holds_alternative<CollectiveWork>(op.work) || op.after[0] < 0) continue;
      count += ops[static_cast<std::size_t>(op.after[0])].weight_half;
    }
    return count;
  };
  EXPECT_EQ(waits_for_wgrad(p.was.backward), 0);
  EXPECT_EQ(waits_for_wgrad(p.is.backward), 2);  // qkv and mlp_up
  EXPECT_EQ(differences(p.backward_was, p.backward), Changed{});
}

// 1F1B over 4 stages, 8 micro-batches: every slot grows by the send and the synchronisations.
TEST(Mechanisms, StagesStandStillWhileTheySend) {
  const auto step = [](SendOverlap overlap, std::int32_t synchronisations, bool in_turn = false) {
    Profile profile = megatron();
    profile.state.sends_in_turn = in_turn;
    profile.state.overlap_send = overlap, profile.host.sync_per_send = synchronisations;
    Machinery setup(small_model({}), h100(4), profile, 8, kS);
    Evaluator evaluator = setup.evaluator();
    Layout layout;
    layout.pp = 4;
    return std::pair(evaluator.cost(layout), evaluator.chain(layout).state->send);
  };
  const auto [under, send] = step(SendOverlap::always, 1);
  const auto [blocking, same] = step(SendOverlap::never, 0);
  const auto [read, again] = step(SendOverlap::never, 1);
  const double sync = Machinery(small_model({}), h100(4), megatron(), 8, kS).calibration.synchronise().value;
  EXPECT_GT(send, 0);
  // 8 + 3 slots of each direction against 3 hops of each: the last backward ends with its send.
  EXPECT_NEAR(blocking.step_seconds - under.step_seconds, 2 * (8 + 3) * send - 2 * 3 * send, 1e-6);
  EXPECT_NEAR(read.step_seconds - blocking.step_seconds, 2 * (8 + 3) * sync, 1e-6);
  EXPECT_EQ(step(SendOverlap::interleaved, 1).first.step_seconds, read.step_seconds);
  const double in_turn = step(SendOverlap::never, 1, true).first.step_seconds;  // one send a slot more
  EXPECT_NEAR(in_turn - read.step_seconds, 2 * (8 + 3) * send, 1e-6);
}

}  // namespace
}  // namespace tw
