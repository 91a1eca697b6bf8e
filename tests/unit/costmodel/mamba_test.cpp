// A Mamba-2 layer by hand: parameters, bytes, FLOPs, kept activations, its cut over tp and cp, and how
// a hybrid's config.json is read.
#include <gtest/gtest.h>

#include "costmodel/curves.hpp"
#include "costmodel/layout/legality.hpp"
#include "costmodel/parameters.hpp"
#include "tests/unit/costmodel/calibration_fixture.hpp"
#include "tests/unit/costmodel/oracle_fixture.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

constexpr std::int64_t kS = 64, kHidden = 16;

// hidden 16; 4 heads of 8 channels (32 in all), 2 groups of state 4 (B and C 8 wide each), chunks of 8.
std::string config(const std::string& pattern, const std::string& keys = "") {
  return R"({"model_type":"nemotron_h","hidden_size":16,"vocab_size":32,"num_hidden_layers":)" +
         std::to_string(pattern.size()) + R"(,"hybrid_override_pattern":")" + pattern +
         R"(","num_attention_heads":4,"num_key_value_heads":2,"head_dim":4,"intermediate_size":24,
             "mamba_num_heads":4,"mamba_head_dim":8,"n_groups":2,"ssm_state_size":4,"chunk_size":8,
             "n_routed_experts":4,"num_experts_per_tok":2,"moe_intermediate_size":8,"n_shared_experts":1,
             "moe_shared_expert_intermediate_size":12)" +
         keys + "}";
}
Model read(const std::string& text) {
  return read_model(parse_json(text, "config.json"), "test");
}

LayerWork emitted(const Model& model, const PassKey& key) {
  static const Profile profile = test::megatron();
  return emit_layer({&model, &profile, key, static_cast<std::int32_t>(kS), Routing{}}, model.kinds[0]);
}

const Op& op_named(const OpList& ops, std::string_view name) {
  for (const Op& op : ops) {
    if (op.name == name) return op;
  }
  throw std::runtime_error("no such op");
}

// M: projection to z, x (32 each), B, C (8 each) and dt (4): 16*84; convolution of 48 channels, 4 taps
// and a bias: 48*5; decay, step bias and skip of 4 heads: 12; norm 32; projection 32*16; norm 16: 2156.
// *: 16*16 q, 2*16*8 k and v, 16*16 out, norm 16: 784. -: 2*16*24 + 16 = 784. E: router 4*16 + 4, experts
// 4*2*16*8, shared 2*16*12, norm 16: 1492. Embedding and head 32*16 each, norm 16.
TEST(Mamba, ParametersByHand) {
  EXPECT_EQ(count_parameters(read(config("M"))).total, 2156 + 2 * 512 + 16);
  EXPECT_EQ(count_parameters(read(config("M*-E"))).total, 2156 + 784 + 784 + 1492 + 2 * 512 + 16);
  // Two of four experts: 2*2*16*8 fewer.
  EXPECT_EQ(count_parameters(read(config("M*-E"))).active, 2156 + 784 + 784 + 1492 - 512 + 2 * 512 + 16);
}

// A token: channels 64 B, B or C 16 B, steps 16 B, C B of its chunk 4*2*8 = 64 B, states 4*32*4/8 = 64 B.
// Forward: 40 + (64+16+32+64) + 96 + (32+64) + (256+16+32+64+32) = 808 B. Backward: those 408 of the first
// four again, gate 320, states 144 and 192, x 368, B 176, C 144, C B 192 and 2*128, decays 224 = 2424 B.
// FLOPs: C B 2*8*8 = 128, with x 32*8 = 256 (causal half), states 2*2*32*4 = 512: 896; backward 128 + 256
// again and 2*896 = 2176.
TEST(Mamba, ScanByHand) {
  const LayerWork work = emitted(read(config("M")), {});
  const auto& forward = std::get<ScanWork>(op_named(work.forward, "scan").work);
  EXPECT_EQ(forward.bytes.count, kS * 808);
  EXPECT_DOUBLE_EQ(forward.flops.value, kS * 896.0);
  const auto& backward = std::get<ScanWork>(op_named(work.backward, "scan").work);
  EXPECT_EQ(backward.bytes.count, kS * 2424);
  EXPECT_DOUBLE_EQ(backward.flops.value, kS * 2176.0);
  // Read and written; forward again, then input and gradient read and one written: of 48 channels.
  EXPECT_EQ(std::get<Elementwise>(op_named(work.forward, "conv").work).bytes.count, kS * 48 * 2 * 2);
  EXPECT_EQ(std::get<Elementwise>(op_named(work.backward, "conv").work).bytes.count, kS * 48 * 2 * 5);
}

// Kept: residual and normed input (16), the projection (84), the scan without its gate, its output and
// the normed one (32 each), bf16.
TEST(Mamba, KeptBytesByHand) {
  EXPECT_EQ(emitted(read(config("M")), {}).kept_bytes, kS * 2 * (2 * kHidden + 84 + 3 * 32));
}

// tp cuts everything by heads: half of the scan, one all-reduce each way.
TEST(Mamba, IsCutByHeads) {
  PassKey two;
  two.tp = 2;
  const LayerWork work = emitted(read(config("M")), two);
  EXPECT_EQ(std::get<ScanWork>(op_named(work.forward, "scan").work).bytes.count, kS * 808 / 2);
  std::int64_t cut = 0, all = 0;
  for (const Weight& weight : work.weights) cut += weight.local, all += weight.elements;
  EXPECT_EQ(cut, (all - kHidden) / 2 + kHidden);  // the layer's norm stays whole
  int collectives = 0;
  for (const Op& op : work.forward) collectives += op.stream == Stream::network;
  EXPECT_EQ(collectives, 1);
  two.tp = 1, two.cp = 2;  // to heads, 84 wide, and back, 32 wide
  const LayerWork context = emitted(read(config("M")), two);
  EXPECT_EQ(std::get<CollectiveWork>(op_named(context.forward, "mamba_heads").work).bytes.count,
            kS / 2 * 84 * 2);
  EXPECT_EQ(std::get<CollectiveWork>(op_named(context.forward, "mamba_sequence").work).bytes.count,
            kS / 2 * 32 * 2);
}

// One checkpoint for each of the two norms and one for the experts: each replays at its reader.
TEST(Recompute, CheckpointsAreCounted) {
  const Model model = test::small_model({.experts = 8, .top_k = 2});
  const auto counted = [&](const Recompute& recompute) {
    PassKey key;
    key.recompute = recompute;
    int checkpoints = 0;
    for (const Op& op : emitted(model, key).backward) checkpoints += op.checkpoints;
    return checkpoints;
  };
  Recompute chosen;
  EXPECT_EQ(counted(chosen), 0);
  chosen.modules = Recompute::norm;
  EXPECT_EQ(counted(chosen), 2);
  chosen.modules = Recompute::norm | Recompute::mlp;
  EXPECT_EQ(counted(chosen), 3);
  chosen = {};
  chosen.full = true;
  EXPECT_EQ(counted(chosen), 1);
}

TEST(Mamba, UnevenCutsAreIllegal) {
  const Model model = read(config("M"));
  const Job job{&model, 8, static_cast<std::int32_t>(kS), 4};
  Layout layout;
  layout.tp = 4;  // 4 heads, but only 2 groups
  EXPECT_FALSE(is_legal(layout, job));
  EXPECT_EQ(rule_name(first_broken_rule(layout, job)), "scan_heads");
  layout.tp = 2, layout.dp = 2;
  EXPECT_TRUE(is_legal(layout, job));
}

// Reads and writes at the rate of elementwise kernels, products at that of FlashAttention-2 forward.
TEST(Mamba, ScanIsDerivedAndDoubtful) {
  const Calibration k = test::calibration_of("h100-sxm", test::kH100);
  const Flops flops(1e12);
  const Bytes bytes(1 << 30);
  const Estimate scan = k.scan(flops, bytes), moved = k.elementwise(bytes);
  EXPECT_DOUBLE_EQ(scan.time.value, (moved.time + flops / k.data().attention.flash2.forward.rate).value);
  EXPECT_EQ(scan.provenance, Provenance::derived);
  EXPECT_GE(scan.spread, 0.3);
}

TEST(Mamba, PatternsThatMakeNoSenseAreRefused) {
  EXPECT_THROW(read(config("MX")), InputError);
  EXPECT_THROW(read(config("M", R"(,"residual_in_fp32":true)")), InputError);
  EXPECT_THROW(read(config("M", R"(,"moe_latent_size":8)")), InputError);
  EXPECT_THROW(read(config("M", R"(,"conv_kernel":4096)")), InputError);
  std::string longer = config("MM");
  longer.replace(longer.find("\"MM\""), 4, "\"MMM\"");
  EXPECT_THROW(read(longer), InputError);
}

}  // namespace
}  // namespace tw
