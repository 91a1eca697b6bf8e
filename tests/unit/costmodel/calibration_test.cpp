#include "costmodel/calibration.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "costmodel/curves.hpp"
#include "tests/unit/costmodel/calibration_fixture.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

using namespace test;

double tflops(const Calibration& c, std::int64_t m, std::int64_t n, std::int64_t k) {
  const auto flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  return in_tflops(FlopsPerSec(flops / c.gemm({.m = m, .n = n, .k = k}).time.value));
}

// 2 SMs at 1 FLOP per ns each (2e9 in all), copy 1e9 B/s, no overheads. 128x512x100: one tile of 128x256
// per SM, 2*128*256*100 FLOP / 1e9 = 6553.6 us; 640 columns: a third tile opens a second wave.
TEST(GemmCurve, waves_of_tiles) {
  GemmCurve curve;
  curve.rate = FlopsPerSec(2e9);
  curve.odd_rate = FlopsPerSec(1e9);
  curve.tail = 1;
  curve.intensity = 64;  // 128x128 keeps full speed, 64x128 (42.7) does not
  curve.memory_share = 1;
  curve.overlap = 8;
  const BytesPerSec fast(1e15);
  const auto us = [&](TileWork work) { return in_us(gemm_time(curve, 2, fast, work)); };
  EXPECT_NEAR(us({.rows = 128, .cols = 512, .depth = 100}), 6553.6, 1e-3);
  EXPECT_NEAR(us({.rows = 128, .cols = 640, .depth = 100}), 1.5 * 6553.6,
              1e-3);  // 5 tiles of 128x128: 3 waves
  EXPECT_NEAR(us({.rows = 128, .cols = 512, .depth = 100, .odd = true}), 2 * 6553.6, 1e-3);
  EXPECT_NEAR(us({.rows = 128, .cols = 256, .depth = 100, .groups = 2}), 6553.6, 1e-3);
  curve.fill = 100;
  EXPECT_NEAR(us({.rows = 128, .cols = 512, .depth = 100}), 2 * 6553.6, 1e-3);
}

// Memory decides: (128*4096 + 4096*512 + 128*512) elements of 2 bytes, 1e9 B/s: 5.373952 ms.
TEST(GemmCurve, memory) {
  GemmCurve curve;
  curve.rate = curve.odd_rate = FlopsPerSec(1e18);
  curve.intensity = 10;
  curve.memory_share = 1;
  curve.overlap = 8;
  const TileWork work{.rows = 128, .cols = 512, .depth = 4096};
  EXPECT_NEAR(in_ms(gemm_time(curve, 132, BytesPerSec(1e9), work)), 5.373952, 1e-6);
  curve.memory_ramp = Seconds(5.373952e-3);  // s + sqrt(s*s) = 2 s
  EXPECT_NEAR(in_ms(gemm_time(curve, 132, BytesPerSec(1e9), work)), 2 * 5.373952, 1e-6);
}

// Four tiles on two SMs take 6553.6 us; 1e6 bytes of an fp32 accumulation at 1e9 B/s take 1000 us, hidden
// under them or, where exposed, after them.
TEST(GemmCurve, exposed_accumulation) {
  GemmCurve curve;
  curve.rate = FlopsPerSec(2e9);
  curve.tail = 1;
  curve.intensity = 64;
  curve.memory_share = 1;
  curve.overlap = 8;
  const TileWork work{.rows = 128, .cols = 512, .depth = 100, .extra_bytes = 1e6};
  const auto us = [&] { return in_us(gemm_time(curve, 2, BytesPerSec(1e9), work)); };
  EXPECT_NEAR(us(), 6553.6, 0.1);
  curve.exposed = 0.5;
  EXPECT_NEAR(us(), 7053.6, 0.1);
  curve.exposed = 1;
  EXPECT_NEAR(us(), 7553.6, 0.1);
}

// Forward 4*128 FLOP per pair, backward 10*128. Half of the pair's time is exponentials here, so that
// head size 64 takes half of the matmul half and all of the other: 3/4.
TEST(AttentionCurve, pairs) {
  AttentionCurve curve;
  curve.rate = FlopsPerSec(512e9);     // 1 ns per pair at head size 128
  const FlopsPerSec exponential(2e9);  // 0.5 ns each
  AttentionShape shape{.batch = 2,
                       .heads = 3,
                       .kv_heads = 3,
                       .q_len = 10,
                       .kv_len = 10,
                       .head_dim = 128,
                       .value_dim = 128,
                       .pairs = 100};
  EXPECT_NEAR(in_us(attention_time(curve, {exponential, 132}, pair_work(shape, 128))), 0.6, 1e-12);
  shape.head_dim = shape.value_dim = 64;
  EXPECT_NEAR(in_us(attention_time(curve, {exponential, 132}, pair_work(shape, 128))), 0.45, 1e-12);
  shape.head_dim = shape.value_dim = 128;
  curve.padding = 5;  // 10 rows of 5 pairs more per sequence and head
  EXPECT_NEAR(in_us(attention_time(curve, {exponential, 132}, pair_work(shape, 128))), 0.9, 1e-12);
  // Four SMs each go on alone for 2 rows over 10 keys and 5 pairs of padding: 4*2*15 pairs of 1 ns.
  curve.tail_rows = 2;
  EXPECT_NEAR(in_us(attention_time(curve, {exponential, 4}, pair_work(shape, 128))), 0.9 + 0.12, 1e-12);
  curve.tail_rows = 0;
  // Exponentials twice as long cannot take more than half of the pair's time; 0.4 of it is 0.2 ns.
  curve.exponentials = 0.4;
  shape.head_dim = shape.value_dim = 64;  // 0.8 / 2 + 0.2 ns for each of 900 pairs
  EXPECT_NEAR(in_us(attention_time(curve, {exponential, 4}, pair_work(shape, 128))), 0.54, 1e-12);
  curve.exponentials = 2;  // as 1: half
  EXPECT_NEAR(in_us(attention_time(curve, {exponential, 4}, pair_work(shape, 128))), 0.675, 1e-12);
  shape.backward = true;
  shape.head_dim = shape.value_dim = 128;
  EXPECT_NEAR(pair_work(shape, 128).matmul_flops, 1280, 1e-12);
}

// wgrad of m=8192, n=k=4096 is [4096,8192]x[8192,4096]; in fp32 it reads and writes 4 bytes per weight.
TEST(Calibration, passes_have_their_own_shapes) {
  const Calibration c = calibration_of("h100-sxm", kH100);
  const GemmShape forward{.m = 8192, .n = 6144, .k = 2048};
  GemmShape dgrad = forward, wgrad = forward;
  dgrad.pass = GemmPass::dgrad;
  wgrad.pass = GemmPass::wgrad;
  EXPECT_DOUBLE_EQ(c.gemm(dgrad).time.value, c.gemm({.m = 8192, .n = 2048, .k = 6144}).time.value);
  EXPECT_DOUBLE_EQ(c.gemm(wgrad).time.value, c.gemm({.m = 2048, .n = 6144, .k = 8192}).time.value);
  EXPECT_GT(c.gemm(dgrad).spread, c.gemm(forward).spread);
  EXPECT_EQ(c.gemm(dgrad).provenance, Provenance::derived);
  EXPECT_EQ(c.gemm(forward).provenance, Provenance::measured);
  GemmShape thin{.m = 128, .n = 8192, .k = 8192, .pass = GemmPass::wgrad};
  const double plain = c.gemm(thin).time.value;
  thin.accumulate_fp32 = true;
  EXPECT_GT(c.gemm(thin).time.value, plain + 100e-6);  // 512 MiB more at 3 TB/s: 179 us, in part overlapped
}

TEST(Calibration, outside_the_rows_it_says_so_and_widens) {
  const Calibration c = calibration_of("h100-sxm", kH100);
  const Estimate inside = c.gemm({.m = 4096, .n = 4096, .k = 4096});
  const Estimate few_rows = c.gemm({.m = 32, .n = 4096, .k = 4096});
  const double per_octave = c.data().gemm.evidence.per_octave;
  EXPECT_FALSE(inside.extrapolated);
  EXPECT_TRUE(few_rows.extrapolated);  // 32 of 128: two octaves
  EXPECT_NEAR(few_rows.spread, std::hypot(inside.spread, 2 * per_octave), 1e-12);
  EXPECT_TRUE(c.gemm({.m = 4096, .n = 4098, .k = 4096}).extrapolated);
  EXPECT_GT(c.gemm({.m = 3333, .n = 4097, .k = 5001}).time.value, 1.2e-3);  // the odd row: 1319 us
  EXPECT_TRUE(c.gemm({.m = 65536, .n = 65536, .k = 65536}).extrapolated);
  EXPECT_TRUE(c.elementwise(Bytes(1024)).extrapolated);
  EXPECT_FALSE(c.elementwise(gib(1)).extrapolated);
  EXPECT_TRUE(c.collective(Collective::all_gather, in_node(8), Bytes(16)).extrapolated);
  EXPECT_FALSE(c.collective(Collective::all_gather, in_node(8), gib(1)).extrapolated);
  EXPECT_TRUE(c.collective(Collective::all_gather, between(64, 8), gib(1)).extrapolated);
}

TEST(Calibration, shapes_of_groups_without_a_log_are_derived_and_wider) {
  const Calibration c = calibration_of("h100-sxm", kH100);
  const Estimate logged = c.collective(Collective::all_reduce, between(4, 8), gib(1));
  const Estimate other = c.collective(Collective::all_reduce, between(4, 2), gib(1));
  EXPECT_NE(logged.provenance, Provenance::derived);
  EXPECT_EQ(other.provenance, Provenance::derived);
  EXPECT_GT(other.spread, logged.spread);
  EXPECT_EQ(c.collective(Collective::all_gather, between(2, 8), gib(1)).provenance, Provenance::derived);
}

// Published: 8 H100 with NVLS 480, rings 365-370, of a 450 GB/s link (within 5 %).
TEST(Calibration, published_bus_bandwidths) {
  const Calibration c = calibration_of("h100-sxm", kH100);
  const auto bus = [&](Collective kind, double factor) {
    return factor * 16 * 1.073741824 / c.collective(kind, in_node(8), gib(16)).time.value;
  };
  EXPECT_NEAR(bus(Collective::all_reduce, 1.75), 480, 0.05 * 480);
  EXPECT_NEAR(bus(Collective::all_gather, 0.875), 361, 0.05 * 361);
}

// Published with NVLS off: 365-370 GB/s at 8 GiB and more.
TEST(Calibration, without_nvls_rings_remain) {
  const Calibration c = calibration_of("h100-sxm", kH100).without_nvls();
  const double seconds = c.collective(Collective::all_reduce, in_node(8), gib(8)).time.value;
  EXPECT_NEAR(1.75 * 8 * 1.073741824 / seconds, 367.5, 0.03 * 367.5);
}

TEST(Calibration, one_rank_and_no_bytes_cost_nothing) {
  const Calibration c = calibration_of("h100-sxm", kH100);
  EXPECT_EQ(c.collective(Collective::all_reduce, in_node(1), gib(1)).time.value, 0);
  EXPECT_EQ(c.collective(Collective::all_reduce, in_node(8), Bytes(0)).time.value, 0);
  EXPECT_EQ(c.communicator(1).count, 0);
}

// H800 differs from H100 in NVLink alone: its kernels stay measured, its links are derived.
TEST(Calibration, carries_over) {
  const Calibration h100 = calibration_of("h100-sxm", kH100), h800 = calibration_of("h100-sxm", kH800);
  const GemmShape shape{.m = 8192, .n = 8192, .k = 8192};
  EXPECT_DOUBLE_EQ(h800.gemm(shape).time.value, h100.gemm(shape).time.value);
  EXPECT_EQ(h800.gemm(shape).provenance, Provenance::measured);
  EXPECT_EQ(h800.collective(Collective::all_reduce, in_node(8, 200), gib(1)).provenance, Provenance::derived);

  // Published on 8 H800 with NVLS, kept out of the fit: 215 GB/s.
  const double reduce = h800.collective(Collective::all_reduce, in_node(8, 200), gib(8)).time.value;
  EXPECT_NEAR(1.75 * 8 * 1.073741824 / reduce, 215, 0.05 * 215);

  // 500 W instead of 700 at the same peak: exp(0.44 ln(5/7)) = exp(0.44 * -0.33647) = 0.8624.
  const Calibration low = calibration_of("h100-sxm", kH100Low);
  EXPECT_NEAR(low.data().gemm.rate / h100.data().gemm.rate, 0.8624, 1e-4);
  EXPECT_EQ(low.gemm(shape).provenance, Provenance::derived);
  EXPECT_EQ(low.gemm(shape).spread, h100.gemm(shape).spread);
  EXPECT_EQ(h100.carried_spread(), 0);  // measured there
  EXPECT_EQ(low.carried_spread(), h100.data().carry_over.at("hopper").spread);
}

// Libraries of 2023 and 2024 are slower on Hopper, not on an architecture that they had known for years.
TEST(Calibration, early_libraries) {
  const Calibration h100 = calibration_of("h100-sxm", kH100), a100 = calibration_of("h100-sxm", kA100);
  EXPECT_EQ(h100.library(GemmLibrary::current), 1);
  EXPECT_DOUBLE_EQ(h100.library(GemmLibrary::early), 1 / h100.data().early_gemm->speed);
  EXPECT_GT(h100.library(GemmLibrary::early), 1.05);
  EXPECT_EQ(a100.library(GemmLibrary::early), 1);
}

// 1.2 GB at 1.95 TB/s: 615.4 us, beside 2.5 us to start and drain; an A100's memory is slower than its SMs.
TEST(Calibration, casts_to_a_wider_type) {
  const Bytes bytes(1'200'000'000);
  const Calibration h100 = calibration_of("h100-sxm", kH100), a100 = calibration_of("h100-sxm", kA100);
  EXPECT_NEAR(h100.widening(bytes).time.value, 617.9e-6, 0.1e-6);
  EXPECT_LT(h100.elementwise(bytes).time.value, 450e-6);
  EXPECT_EQ(a100.widening(bytes).time.value, a100.elementwise(bytes).time.value);
}

// Large bf16 GEMMs in bursts: A100 250-280 of 312 TFLOP/s, B200 0.64 to 0.655 of 2250 (SimuMax B200 report).
// A100 8-GPU ring: 235 GB/s.
TEST(Calibration, other_gpus_reach_their_published_rates) {
  const Calibration a100 = calibration_of("h100-sxm", kA100), b200 = calibration_of("h100-sxm", kB200);
  EXPECT_GT(tflops(a100, 8192, 8192, 8192), 250);
  EXPECT_LT(tflops(a100, 8192, 8192, 8192), 280);
  EXPECT_GT(tflops(b200, 16384, 16384, 16384), 0.64 * 2250);
  EXPECT_LT(tflops(b200, 16384, 16384, 16384), 0.655 * 2250);
  const double seconds = a100.collective(Collective::all_reduce, in_node(8, 300), gib(16)).time.value;
  EXPECT_NEAR(1.75 * 16 * 1.073741824 / seconds, 235, 0.05 * 235);
  EXPECT_FALSE(a100.data().links.nvls);
}

// One cast per expert: each kernel starts and drains, 2.5 us.
TEST(Calibration, casts_of_many_kernels) {
  const Calibration b200 = calibration_of("h100-sxm", kB200);
  const auto seconds = [&](double kernels) {
    return b200.low_precision("mxfp8", Estimate{}, 2, {.elements = 1 << 24, .bytes = 0, .kernels = kernels})
        .time.value;
  };
  EXPECT_NEAR(seconds(16) - seconds(1), 15 * 2.5e-6, 1e-9);
  const double none = b200.low_precision("mxfp8", Estimate{}, 2, {.kernels = 16}).time.value;
  EXPECT_NEAR(none, 2.5e-6, 1e-9);
}

// 32 experts of 4096 x 7168, 1024 rows each, summed in fp32 on B200 (SimuMax): 2.96 ms for 1.924 TFLOP.
// Apart: the product as without a sum, and 32 * 4096 * 7168 * 8 bytes at 8/3.35 of Hopper's 3.01 TB/s,
// 1.05 ms; on Hopper the sum hides.
TEST(Calibration, sums_of_experts_gradients_on_blackwell) {
  const Calibration b200 = calibration_of("h100-sxm", kB200), h100 = calibration_of("h100-sxm", kH100);
  const auto seconds = [](const Calibration& k, bool sum) {
    const GroupedGemmShape shape{32, 1024, 1, 4096, 7168, GemmPass::wgrad, sum};
    return k.grouped_gemm(shape).time.value * k.sustained(CurveId::grouped_gemm);
  };
  EXPECT_NEAR(seconds(b200, true) - seconds(b200, false), 1.046e-3, 2e-5);
  EXPECT_NEAR(seconds(b200, true), 2.96e-3, 0.1 * 2.96e-3);
  EXPECT_LT(seconds(h100, true) - seconds(h100, false), 0.3 * 2.5e-3);  // of 7.5 GB at 3.01 TB/s
}

// Under load bf16 on B200 takes 1.335 times as long, 8 bits by a number of their own: one second of a bf16
// GEMM becomes that ratio over (2 peaks * the recipe's share). On Hopper there is no such ratio.
TEST(Calibration, eight_bits_under_load) {
  const Calibration b200 = calibration_of("h100-sxm", kB200), h100 = calibration_of("h100-sxm", kH100);
  Estimate second;
  second.time = Seconds(1);
  const double share = b200.data().low_precision->at("mxfp8").share;
  const CarryOver& rule = h100.data().carry_over.at("blackwell");
  const double none = b200.elementwise(Bytes(0)).time.value;
  EXPECT_NEAR(b200.low_precision("mxfp8", second, 2, {}).time.value - none,
              *rule.sustained_low / 1.335 / (2 * share), 1e-9);
  EXPECT_NEAR(h100.low_precision("mxfp8", second, 2, {}).time.value - h100.elementwise(Bytes(0)).time.value,
              1 / (2 * share), 1e-9);
}

// 1 MiB 7.47 and 0.216, 8 MiB 4.39 and 0.202 (h200-sxm.json): half-way in the logarithm is 2.83 MiB. Outside
// the sizes the nearest; between nodes, and where nothing was measured by size, the file's one constant.
TEST(Calibration, interference_by_size) {
  const Calibration h200 = calibration_of("h200-sxm", kH200);
  const std::vector<Interference>& sizes = *h200.data().host.beside;
  ASSERT_GE(sizes.size(), 2u);
  const double low = sizes[0].bytes.to_double(), high = sizes[1].bytes.to_double();
  const Calibration::Beside middle = h200.beside(std::sqrt(low * high), false);
  EXPECT_NEAR(middle.network, (sizes[0].network + sizes[1].network) / 2, 1e-12);
  EXPECT_NEAR(*middle.lost, (sizes[0].lost + sizes[1].lost) / 2, 1e-12);
  EXPECT_EQ(h200.beside(1, false).network, sizes.front().network);
  EXPECT_EQ(h200.beside(1e15, false).network, sizes.back().network);
  EXPECT_EQ(h200.beside(low, true).network, h200.data().host.network_slowdown);
  EXPECT_FALSE(h200.beside(low, true).lost);
  EXPECT_FALSE(calibration_of("h100-sxm", kH100).beside(low, false).lost);
  EXPECT_TRUE(calibration_of("h200-sxm", kH100).data().host.beside->empty());  // of that GPU alone
}

// Shares 0.549, 0.737 and 0.835 were measured: on them their own ratios, between two a straight line, outside
// the nearest; 1 where no layer was.
TEST(Calibration, sustained_by_the_mix_of_a_layer) {
  const Calibration h200 = calibration_of("h200-sxm", kH200);
  const std::vector<LoadAtShare>& mixes = *h200.data().sustained->mixes;
  ASSERT_EQ(mixes.size(), 3u);
  const auto attention = [&](double share) {
    return h200.sustained(CurveId::attention) * h200.sustained_in_mix(CurveId::attention, share);
  };
  for (const LoadAtShare& mix : mixes) EXPECT_NEAR(attention(mix.gemm_share), mix.attention, 1e-12);
  EXPECT_NEAR(attention((mixes[0].gemm_share + mixes[1].gemm_share) / 2),
              (mixes[0].attention + mixes[1].attention) / 2, 1e-12);
  EXPECT_NEAR(attention(0), mixes.front().attention, 1e-12);
  EXPECT_NEAR(attention(1), mixes.back().attention, 1e-12);
  EXPECT_EQ(h200.sustained_in_mix(CurveId::intra_collective, 0.7), 1);
  EXPECT_EQ(calibration_of("h100-sxm", kH100).sustained_in_mix(CurveId::gemm, 0.7), 1);
  EXPECT_EQ(calibration_of("h200-sxm", kA100).sustained_in_mix(CurveId::gemm, 0.7), 1);
  EXPECT_EQ(h200.in_bursts().sustained_in_mix(CurveId::gemm, 0.7), 1);
}

TEST(Calibration, attention_kernels) {
  const Calibration c = calibration_of("h100-sxm", kH100);
  AttentionShape shape{.batch = 1,
                       .heads = 32,
                       .kv_heads = 8,
                       .q_len = 8192,
                       .kv_len = 8192,
                       .head_dim = 128,
                       .value_dim = 128,
                       .pairs = 8192.0 * 8193 / 2};
  const auto time = [&](AttentionKernel kernel) {
    shape.kernel = kernel;
    return c.attention(shape).time.value;
  };
  const double speed = c.data().attention.flash1.speed;  // of flash2, a fitted constant of the file
  EXPECT_GT(speed, 0.40);                                // its physical range: arXiv 2307.08691
  EXPECT_LT(speed, 0.77);
  EXPECT_NEAR(time(AttentionKernel::flash1) * speed, time(AttentionKernel::flash2), 1e-12);
  EXPECT_LT(time(AttentionKernel::cudnn), time(AttentionKernel::flash2));
  EXPECT_GT(time(AttentionKernel::unfused), time(AttentionKernel::flash2));
  shape.head_dim = shape.value_dim = 64;
  shape.kernel = AttentionKernel::cudnn;
  EXPECT_EQ(c.attention(shape).provenance, Provenance::derived);
}

// Skew inside one kernel costs part-filled tiles only; it never helps.
TEST(Calibration, skewed_groups) {
  const Calibration c = calibration_of("h100-sxm", kH100);
  GroupedGemmShape shape{.groups = 8, .rows = 1024, .n = 14336, .k = 4096};
  const double even = c.grouped_gemm(shape).time.value;
  shape.max_over_mean = 1.5;
  EXPECT_GT(c.grouped_gemm(shape).time.value, even);
  EXPECT_LT(c.grouped_gemm(shape).time.value, 1.1 * even);
}

TEST(Calibration, local_cpu_is_derived) {
  const Sheet cpu{"cpu", 2, 0.16, 0.02, 0, 30};
  const Calibration c = calibration_of("local-cpu", cpu);
  EXPECT_EQ(c.provenance(), Provenance::derived);
  EXPECT_NEAR(tflops(c, 1024, 1024, 1024), 0.08, 0.02);
}

}  // namespace
}  // namespace tw
