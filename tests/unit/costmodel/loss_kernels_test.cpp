// Loss kernels by hand: Liger's chunks, operations per chunk, bytes at the peak.
#include "costmodel/loss_kernels.hpp"

#include <gtest/gtest.h>

#include "tests/support/small_models.hpp"
#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

constexpr std::int64_t kMi = std::int64_t{1} << 20;

// 10240 rows over 217208 x 1024: 213 parts, 49 rows each, 64 as a power of two, 160 chunks. Four times
// the rows: 193, 256, the same 160 chunks.
TEST(Liger, CutsRowsInPowersOfTwo) {
  EXPECT_EQ(liger_chunks(10240, 1024, 217208).rows, 64);
  EXPECT_EQ(liger_chunks(10240, 1024, 217208).count, 160);
  EXPECT_EQ(liger_chunks(40960, 1024, 217208).rows, 256);
  EXPECT_EQ(liger_chunks(40960, 1024, 217208).count, 160);
  EXPECT_EQ(liger_chunks(100, 4096, 1000).count, 1);
}

// Every chunk reads and writes the whole gradient of the head: 2 + 4 and 2 + 4 + 2 bytes an element.
TEST(Liger, AddsTheHeadsGradientPerChunk) {
  const LossOps ops = loss_ops({.kernel = LossKernel::liger, .rows = 1024, .hidden = 512, .vocab = 4096});
  ASSERT_EQ(ops.forward.size(), 5u);  // logits, loss, two gradients, their sum
  const Op& sum = ops.forward.back();
  EXPECT_EQ(std::get<Elementwise>(sum.work).bytes.count, 4096 * 512 * 14);
  EXPECT_DOUBLE_EQ(sum.share, 8);  // chunks of 1024 / 8 = 128 rows
  EXPECT_EQ(std::get<GemmShape>(ops.forward[0].work).m, 128);
  const LossOps frozen =
      loss_ops({.kernel = LossKernel::liger, .rows = 1024, .hidden = 512, .vocab = 4096, .trained = false});
  EXPECT_EQ(frozen.forward.size(), 3u);
  const LossOps in_place =
      loss_ops({.kernel = LossKernel::liger_in_place, .rows = 1024, .hidden = 512, .vocab = 4096});
  EXPECT_EQ(std::get<Elementwise>(in_place.forward.back().work).bytes.count, 4096 * 512 * 2);
}

TEST(Cce, KahanMakesTheHeadsGradientWhole) {
  const LossCall call{.kernel = LossKernel::cce, .rows = 1024, .hidden = 512, .vocab = 4096};
  LossCall kahan = call;
  kahan.kernel = LossKernel::cce_kahan;
  EXPECT_EQ(loss_ops(call).backward.size(), 2u);   // logits again, the gradient handed on
  EXPECT_EQ(loss_ops(kahan).backward.size(), 4u);  // its product and the sums of 8 tiles
  EXPECT_EQ(std::get<Elementwise>(loss_ops(kahan).backward[2].work).bytes.count, 4 * 2 * 4096 * 512 * 8);
}

// 2048 rows, hidden 4096, vocabulary 65536; input 16 MiB, head 512 MiB, workspaces 2 x 8 MiB.
TEST(StandAlone, PeaksByHand) {
  const std::int64_t both = 2 * (16 + 512) + 2 * 8;
  const auto peak = [](LossKernel kernel, bool backward) {
    const LossCall call{
        .kernel = kernel, .rows = 2048, .hidden = 4096, .vocab = 65536, .chunk = 8192, .backward = backward};
    return stand_alone_bytes(call, 8 * kMi) / kMi;
  };
  // Three fp32 logits of 512 MiB.
  EXPECT_EQ(peak(LossKernel::whole, false), 16 + 512 + 8 + 3 * 512);
  // fp32 operands 32 + 1024, one logits, gradients of both in fp32: more than three logits.
  EXPECT_EQ(peak(LossKernel::whole, true), both + 1056 + 512 + 1056);
  // One chunk of 128 rows: 16 MiB; gradients: 16, 512, one product 512, in fp32 1024.
  EXPECT_EQ(peak(LossKernel::liger, true), both + 16 + 16 + 2048);
  // Both gradients and compensations, the head's once more.
  EXPECT_EQ(peak(LossKernel::cce_kahan, true), both + 2 * 16 + 3 * 512);
  // Slices: head 128, logits 64; at the head's gradient 128 + 3 * 64 + 128 + 64; input twice in fp32.
  EXPECT_EQ(peak(LossKernel::vocab_chunks, true), both + 512 + 64 + 512);
  EXPECT_EQ(peak(LossKernel::vocab_chunks_fused, true), both + 512 + 64 + 384);
}

// In a step no kernel but `whole` holds all logits.
TEST(ChunkedHead, NeedsLessMemoryThanAllLogits) {
  test::Setup setup(test::small_model({.vocab = 128000}), test::h100(1), test::megatron(), 1, 8192);
  const Layout layout = parse_layout("dp=1,mb=1", 1);
  Evaluator whole = setup.evaluator();
  const std::int64_t all = whole.cost(layout).memory[MemoryPart::logits];
  setup.profile.kernels.loss = LossKernel::cce;
  Evaluator tiles = setup.evaluator();
  const Cost cost = tiles.cost(layout);
  EXPECT_EQ(cost.memory[MemoryPart::logits], 2 * 512 * (8192 + 128000));
  EXPECT_GT(all, 10 * cost.memory[MemoryPart::logits]);
  EXPECT_GT(cost.terms[Term::head], 0);
}

// 1024 of 8192 rows at a time, of 128000 entries: 250 MiB beside 16 MiB of the input's gradient.
TEST(ChunkedHead, OfRowsHoldsOneChunk) {
  constexpr std::int64_t kChunk = 2 * 1024 * 128000;
  EXPECT_EQ(
      loss_bytes(
          {.kernel = LossKernel::row_chunks, .rows = 8192, .hidden = 512, .vocab = 128000, .chunk = 1024}),
      kChunk);
  test::Setup setup(test::small_model({.vocab = 128000}), test::h100(1), test::megatron(), 1, 8192);
  setup.profile.kernels.loss = LossKernel::row_chunks, setup.profile.kernels.loss_rows = 1024;
  Evaluator chunks = setup.evaluator();
  const Cost cost = chunks.cost(parse_layout("dp=1,mb=1", 1));
  EXPECT_EQ(cost.memory[MemoryPart::logits], 0);  // in the head's backward alone
  EXPECT_EQ(cost.memory[MemoryPart::temporary] - setup.profile.memory.workspace.count,
            kChunk + 2 * 8192 * 512);
}

// 64 rows, 16 at a time: four products each, no half of which is put off; of 200 entries padded to 256 the
// gradient of a chunk.
TEST(ChunkedHead, OfRowsInAProgram) {
  ProgramInput input = small_input(small_model(false, 2), "dp=1,mb=1", 1, 1);
  input.profile.kernels.loss = LossKernel::row_chunks, input.profile.kernels.loss_rows = 16;
  const Program program(std::move(input));
  const LayerWork& head = *program.units(0).back().work;
  int products = 0;
  for (const OpList* list : {&head.forward, &head.backward}) {
    for (const Op& op : *list) {
      const auto* gemm = std::get_if<GemmShape>(&op.work);
      if (gemm == nullptr) continue;
      ++products;
      EXPECT_EQ(gemm->m, 16);
      EXPECT_EQ(op.share, 4);
      EXPECT_FALSE(op.weight_half);
    }
  }
  EXPECT_EQ(products, 3);
  std::vector<std::int64_t> logits;
  for (const Value& value : head.operands.values) {
    if (value.name == "lm_head") logits.push_back(value.bytes());
  }
  EXPECT_EQ(logits, (std::vector<std::int64_t>{0, 2 * 16 * 256}));
}

}  // namespace
}  // namespace tw
