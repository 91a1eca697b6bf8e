// One MoE layer, tp 2, cp 2, dp 2, ep 4, etp 1, sp, ZeRO-3, as a list of ops derived by hand. The
// golden file was written from this derivation; a difference is an error of one of the two.
//
// Model: hidden h = 512, 8 heads of 64, 4 KV heads, 8 experts of ffn 1024 (gated), top-2. One sequence
// of s = 1024 per micro-batch. cp halves it: T = 512 tokens; sp halves that between two GEMM regions:
// 256 rows. bf16: 2 bytes. S = 256*512*2 = 262144 is one cut residual stream, W = 2S = 524288 a whole one.
//
// Forward. Korthikanti et al. 2022 (arXiv 2205.05198), figure 5 and section 4.2.2:
//   norm: reads and writes S: 2S. g = all-gather over tp in front of the first GEMM (output W),
//     g-bar = reduce-scatter behind the second one (input W).
//   qkv by columns: (8 + 2*4)*64/2 = 512 features, m = 512, k = 512. Its local output is 512 x 512.
//   rope in place over q and k, 384 of the 512 features: 2*512*384*2 = 786432.
//   Ring attention (arXiv 2310.01889), causal over zigzag halves, so that ranks are even: of
//     1024*1025/2 = 524800 pairs of a head, half are a rank's, a quarter in each of two blocks: 131200.
//     One hop carries K and V of 512 tokens, 2 heads, 64 each: 512*2*128*2 = 262144, beside the first
//     block. The last block needs the last hop.
//   attention_out by rows: k = 4*64 = 256, n = 512.
//   add: reads two, writes one: 3S.
//   MoE (Liu et al. 2025, arXiv 2504.14960; Megatron-Core's all-to-all dispatcher) takes the cut tokens:
//   router 256 x 8, k = 512; scores fp32 256*8*4 = 8192 and three passes: 24576; the host reads counts.
//   permute: reads 256 rows, writes 512 copies: 768*1024 = 786432.
//   dispatch over ep: 512 copies of 1024 bytes; balanced, so 512 rows arrive. ep 4: two experts here.
//   sort by expert, unsort: read and write 512 rows: 1048576.
//   expert_up: 2 groups of 256 rows, n = 2*1024, k = 512; SwiGLU reads 2*1024, writes 1024 features:
//     3 * 512*1024*2 = 3145728; expert_down: n = 512, k = 1024. combine and unpermute mirror.
// Backward: the transpose, in reverse. The residual join of two gradients reads two and writes one: 3S.
//   norm reads gradient and input, writes gradient: 3S. SwiGLU reads 3, writes 2 units of 1048576: 5242880.
//   g-bar transposed is an all-gather, g a reduce-scatter. wgrad of qkv reads its input gathered again,
//   under dgrad (section 4.2.2). The ring carries K, V and their gradients: twice the bytes.
//   No weight of the router is cut; its rows are, and so are those of both norms: gradients are partial
//   over tp.
// Kept (section 4.1 without dropout, flash attention keeps no scores), bytes:
//   x S, normed S, q k v rotated 512*512*2 = W, context 512*256*2 = S, its log-sum-exp 4*512*4 = 8192,
//   x after attention S, normed S, 256 x 2 (probability, index) of 8 bytes 4096, all 256 x 8 probabilities
//   in fp32 for the softmax's gradient 8192, expert input W,
//   gate and up 512*2048*2 = 2097152, SwiGLU output 512*1024*2 = 1048576. In all
//   5*262144 + 2*524288 + 2097152 + 1048576 + 8192 + 4096 + 8192 = 5525504.
// States (Rajbhandari et al. 2020, arXiv 1910.02054): attention weights are the same on cp x dp = 4
//   ranks, experts on edp = tp*cp*dp/(ep*etp) = 8/4 = 2. On a rank: attention 512 + 262144 + 131072 + 512
//   + 4096 = 398336, experts 2097152 + 1048576 = 3145728. Gathered in bf16: 796672 and 6291456 bytes;
//   reduced in fp32: 1593344 and 12582912. A shard: 398336/4 + 3145728/2 = 1672448 elements; parameters
//   2, gradients 4, master and two moments 12 bytes each.
#include <gtest/gtest.h>

#include "tests/support/golden.hpp"
#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

Layout golden_layout() {
  Layout l;
  l.dp = 2, l.tp = 2, l.cp = 2, l.ep = 4, l.sp = true, l.zero = 3;
  return l;
}

std::string weights_text(const LayerWork& work) {
  std::string text;
  for (const Weight& w : work.weights) {
    text += std::string(w.name) + (w.scope == Scope::expert ? " expert " : " attention ") +
            std::to_string(w.elements) + " " + std::to_string(w.local) +
            (w.sequence_partial ? " summed over tp" : "") + "\n";
  }
  return text;
}

std::string traffic_text(const LocalWeights& weights, const Layout& layout) {
  std::string text;
  const auto line = [&](const char* what, Scope scope, const char* how, std::int64_t elements, int size) {
    text += std::string(what) + (scope == Scope::expert ? " expert: " : " attention: ") + how + " over " +
            std::to_string(ranks_of(state_shard_group(layout, scope))) + " ranks, " +
            (size == 2 ? "bf16" : "fp32") + " bytes=" + std::to_string(elements * size) + "\n";
  };
  line("gather", Scope::attention, "all_gather", weights.attention, 2);
  line("gather", Scope::expert, "all_gather", weights.expert, 2);
  line("reduce", Scope::attention, "reduce_scatter", weights.attention, 4);
  line("reduce", Scope::expert, "reduce_scatter", weights.expert, 4);
  return text;
}

TEST(MoeLayer, OpsKeptBytesAndStateTrafficAreTheDerivedOnes) {
  const test::Setup setup(test::small_model({.experts = 8, .top_k = 2}), test::h100(8), test::megatron(), 4,
                          1024);
  const Layout layout = golden_layout();
  const LayerWork work =
      emit_layer({&setup.model, &setup.profile, pass_key(layout), 1024, {}}, setup.model.kinds[0]);
  Evaluator evaluator = setup.evaluator();
  const Chain chain = evaluator.chain(layout);
  const KindState& state = chain.state->kinds[0];
  std::string text = "forward\n" + to_string(work.forward) + "backward\n" + to_string(work.backward);
  text += "kept\n" + std::to_string(work.kept_bytes) + " bytes per micro-batch\n";
  text += "weights (whole layer, one rank)\n" + weights_text(work);
  text += "state traffic of the layer, ZeRO-3\n" + traffic_text(chain.pass->kinds[0].weights, layout);
  text += "state bytes of a rank, ZeRO-3\nparameters " + std::to_string(state.parameters) + " gradients " +
          std::to_string(state.gradients) + " optimizer " + std::to_string(state.moments) + " gathered " +
          std::to_string(state.gathered) + "\n";
  expect_golden("moe_layer_ops.txt", text);
}

// One hop of K and V is 262144 bytes (above). Backward their gradients go along: the same again in bf16, twice
// that where sums between ranks travel in fp32.
TEST(MoeLayer, TheRingCarriesGradientsAsWideAsSumsAre) {
  for (const auto& [wide, bytes] : {std::pair{false, 2 * 262144}, {true, 3 * 262144}}) {
    test::Setup setup(test::small_model({.experts = 8, .top_k = 2}), test::h100(8), test::megatron(), 4, 1024);
    setup.profile.kernels.wide_sums = wide;
    const LayerWork work =
        emit_layer({&setup.model, &setup.profile, pass_key(golden_layout()), 1024, {}}, setup.model.kinds[0]);
    std::int64_t backward = 0;
    for (const Op& op : work.backward) {
      if (const auto* ring = std::get_if<RingWork>(&op.work)) backward += ring->bytes.count * ring->hops;
    }
    EXPECT_EQ(backward, bytes);
  }
}

// What the step pays for that traffic is the calibration's price of exactly these collectives, slowed
// by the compute beside them.
TEST(MoeLayer, StateTrafficCostsTheDerivedCollectives) {
  const test::Setup setup(test::small_model({.experts = 8, .top_k = 2}), test::h100(8), test::megatron(), 4,
                          1024);
  const Layout layout = golden_layout();
  Evaluator evaluator = setup.evaluator();
  const Chain chain = evaluator.chain(layout);
  const KindState& state = chain.state->kinds[0];
  GroupLinks attention;  // ranks 0, 2, 4, 6 of one node; 450 GB/s each
  attention.ranks = attention.ranks_per_node = 4;
  attention.intra = setup.cluster.device.nvlink_one_way;
  GroupLinks expert = attention;  // ranks 0 and 4
  expert.ranks = expert.ranks_per_node = 2;
  const Calibration& k = setup.calibration;
  const auto gather = k.collective(Collective::all_gather, attention, Bytes(796672)).time +
                      k.collective(Collective::all_gather, expert, Bytes(6291456)).time;
  const auto reduce = k.collective(Collective::reduce_scatter, attention, Bytes(1593344)).time +
                      k.collective(Collective::reduce_scatter, expert, Bytes(12582912)).time;
  EXPECT_NEAR(state.gather, gather.value * k.beside(0, false).network, 1e-12);
  EXPECT_NEAR(state.reduce, reduce.value * k.beside(0, false).network, 1e-12);
  EXPECT_TRUE(chain.state->gathers_every);
  EXPECT_TRUE(chain.state->reduces_every);
}

}  // namespace
}  // namespace tw
