// Our CUDA kernels and the library calls against the operators of kernels/cpu on the same random inputs.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "kernels/backend/gpu/gemm.hpp"
#include "kernels/ops.hpp"
#include "kernels/routing_ops.hpp"
#include "kernels/training_ops.hpp"
#include "tests/gpu/gpu_kernels.hpp"

namespace tw::gpu {
namespace {

TEST_F(GpuKernels, ProductsOfALinearLayer) {
  constexpr std::int64_t m = 200, n = 136, k = 104;
  const Buffer x = normal(m * k), w = normal(n * k), dy = normal(m * n);
  const Buffer y = unwritten(m * n), dx = unwritten(m * k), dw = unwritten(n * k);
  Buffer sum(4 * n * k);
  clear(sum.data(), sum.bytes(), stream());
  const Blas blas(stream());
  Gemm(blas, {Product::forward, m, n, k}).run({x.data(), w.data(), y.data()});
  Gemm(blas, {Product::dgrad, m, n, k}).run({dy.data(), w.data(), dx.data()});
  Gemm(blas, {Product::wgrad, m, n, k}).run({dy.data(), x.data(), dw.data()});
  for (int twice = 0; twice < 2; ++twice)
    Gemm(blas, {Product::wgrad, m, n, k, Into::fp32_sum}).run({dy.data(), x.data(), sum.data()});
  const auto fx = floats(x), fw = floats(w), fdy = floats(dy);
  std::vector<float> ry(m * n), rdx(m * k), rdw(n * k, 0);
  const cpu::LinearSize size{m, k, n};
  cpu::Linear<float>::forward(size, fx.data(), fw.data(), ry.data());
  cpu::Linear<float>::dgrad(size, fdy.data(), fw.data(), rdx.data());
  cpu::Linear<float>::wgrad(size, fdy.data(), fx.data(), rdw.data());
  EXPECT_LT(error_of(floats(y), ry), kTolerance);
  EXPECT_LT(error_of(floats(dx), rdx), kTolerance);
  EXPECT_LT(error_of(floats(dw), rdw), kTolerance);
  cpu::Linear<float>::wgrad(size, fdy.data(), fx.data(), rdw.data());
  EXPECT_LT(error_of(host<float>(sum), rdw), 1e-5);
}

TEST_F(GpuKernels, ProductsOfExperts) {
  constexpr std::int64_t n = 64, k = 96;
  const std::vector<std::int64_t> rows = {16, 0, 40, 8};
  const Buffer x = normal(64 * k), w = normal(4 * n * k), dy = normal(64 * n);
  const Blas blas(stream());
  const auto fx = floats(x), fw = floats(w), fdy = floats(dy);
  const std::vector<cpu::Segment> segments = {{0, 0, 16}, {2, 16, 40}, {3, 56, 8}};
  const cpu::GroupedSize size{k, n, segments};
  std::vector<float> ry(64 * n), rdx(64 * k), rdw(4 * n * k, 0);
  cpu::GroupedLinear<float>::forward(size, fx.data(), fw.data(), ry.data());
  cpu::GroupedLinear<float>::dgrad(size, fdy.data(), fw.data(), rdx.data());
  cpu::GroupedLinear<float>::wgrad(size, fdy.data(), fx.data(), rdw.data());
  for (const GroupedForm form : {GroupedForm::one_call, GroupedForm::loop}) {
    const Buffer y = unwritten(64 * n), dx = unwritten(64 * k);
    Buffer dw(2 * 4 * n * k);
    clear(dw.data(), dw.bytes(), stream());  // an expert without rows is not written
    const auto run = [&](Product product, const GemmPointers& at) {
      GroupedGemm gemm(blas, {product, rows, n, k, form});
      gemm.set(at), gemm.run();
      synchronise();
    };
    run(Product::forward, {x.data(), w.data(), y.data()});
    run(Product::dgrad, {dy.data(), w.data(), dx.data()});
    run(Product::wgrad, {dy.data(), x.data(), dw.data()});
    EXPECT_LT(error_of(floats(y), ry), kTolerance);
    EXPECT_LT(error_of(floats(dx), rdx), kTolerance);
    EXPECT_LT(error_of(floats(dw), rdw), kTolerance);
  }
}

TEST_F(GpuKernels, RowOperators) {
  constexpr std::int64_t rows = 37, width = 6144;
  const Buffer x = normal(rows * width), w = normal(width), dy = normal(rows * width);
  const Buffer y = unwritten(rows * width), dx = unwritten(rows * width);
  Buffer dw(4 * width);
  clear(dw.data(), dw.bytes(), stream());
  rms_norm_forward({rows, width, 1e-5f}, x.data(), w.data(), y.data(), stream());
  rms_norm_backward({rows, width, 1e-5f}, {x.data(), w.data(), dy.data(), dx.data(), dw.floats()}, stream());
  const auto fx = floats(x), fw = floats(w), fdy = floats(dy);
  std::vector<float> ry(fx.size()), rdx(fx.size()), rdw(width, 0);
  const cpu::NormShape shape{rows, 1, width, 1e-5};
  cpu::RmsNorm<float>::forward(shape, {fx.data(), width}, fw.data(), {ry.data(), width});
  cpu::RmsNorm<float>::backward(shape, {fx.data(), width}, fw.data(), {fdy.data(), width},
                                {{rdx.data(), width}, rdw.data()});
  EXPECT_LT(error_of(floats(y), ry), kTolerance);
  EXPECT_LT(error_of(floats(dx), rdx), kTolerance);
  EXPECT_LT(error_of(host<float>(dw), rdw), 1e-4);

  const Buffer act = unwritten(rows * width / 2), dgate = unwritten(rows * width);
  swiglu_forward({rows, width / 2}, x.data(), act.data(), stream());
  swiglu_backward({rows, width / 2}, x.data(), dy.data(), dgate.data(), stream());
  std::vector<float> ract(fx.size() / 2), rdgate(fx.size());
  cpu::Swiglu<float>::forward({rows, width / 2}, fx.data(), nullptr, ract.data());
  cpu::Swiglu<float>::backward({rows, width / 2}, fx.data(), nullptr, fdy.data(), {rdgate.data(), nullptr});
  EXPECT_LT(error_of(floats(act), ract), kTolerance);
  EXPECT_LT(error_of(floats(dgate), rdgate), kTolerance);

  Buffer top(4);
  clear(top.data(), 4, stream());
  largest(x.data(), top.floats(), rows * width, stream());
  float most = 0;
  for (const float each : fx) most = std::max(most, std::abs(each));
  EXPECT_EQ(host<float>(top)[0], most);
}

// In double. One pass in clusters of blocks and two passes apart, rows of few packs and of more than clusters
// hold, vocabularies with padding and targets that others have.
TEST_F(GpuKernels, LossAndItsGradient) {
  struct Size {
    std::int64_t rows, count, first, real;
  };
  for (const auto& [rows, count, first, real] :
       {Size{1, 8, 0, 1}, Size{3, 64, 0, 61}, Size{19, 4096, 0, 4096}, Size{7, 32000, 0, 32000},
        Size{5, 65536, 0, 65531}, Size{4, 128256, 0, 128256}, Size{3, 151936, 0, 151643},
        Size{2, 262144, 0, 262144}, Size{2, 270336, 0, 270001}, Size{37, 1024, 512, 1000}}) {
    SCOPED_TRACE(testing::Message() << rows << " rows of " << count << ", " << real << " real, from "
                                    << first);
    const Buffer logits = normal(rows * count, 3), apart = unwritten(rows * count);
    on_device(logits.data(), apart.data(), 2 * rows * count, stream());
    std::vector<double> before;
    for (const float each : floats(logits)) before.push_back(static_cast<double>(each));
    std::vector<std::int32_t> targets;
    for (std::int32_t i = 0; i < rows; ++i)
      targets.push_back(static_cast<std::int32_t>((i * 211 + 5) % (first + real)));
    Buffer there(4 * rows);
    const Buffer parts = unwritten(3 * rows, 4), parts_apart = unwritten(3 * rows, 4);
    to_device(targets.data(), there.data(), 4 * rows, stream());
    const auto* on_gpu = static_cast<const std::int32_t*>(there.data());
    const VocabularyPart part{rows, count, first, real};
    score_and_gradient(part, on_gpu, 0.5f, logits.data(), parts.floats(), stream());
    score_forward(part, on_gpu, apart.data(), parts_apart.floats(), stream());
    score_backward(part, {on_gpu, parts_apart.floats()}, 0.5f, apart.data(), stream());
    const cpu::VocabularyRange range{rows, first, count, first + real};
    std::vector<cpu::CrossEntropy<double>::Part> wanted(static_cast<std::size_t>(rows));
    std::vector<double> gradient(before.size()), numbers;
    cpu::CrossEntropy<double>::forward(range, before.data(), targets.data(), wanted.data());
    cpu::CrossEntropy<double>::backward(range, {before.data(), targets.data(), wanted.data()}, 0.5,
                                        gradient.data());
    for (const auto& each : wanted) numbers.insert(numbers.end(), {each.maximum, each.sum, each.target});
    for (const Buffer* got : {&parts, &parts_apart}) EXPECT_LT(error_of(host<float>(*got), numbers), 1e-5);
    for (const Buffer* got : {&logits, &apart}) {
      const std::vector<float> own = floats(*got);
      if (real > 1) {  // of one entry alone it is zero
        EXPECT_LT(error_of(own, gradient), kTolerance);
      }
      for (std::int64_t i = 0; i < rows * count; ++i)
        ASSERT_TRUE(i % count < real || own[static_cast<std::size_t>(i)] == 0) << i;
    }
  }
}

TEST_F(GpuKernels, CastsAndSums) {
  constexpr std::int64_t rows = 192, cols = 320, count = rows * cols;
  const Buffer a = normal(count), b = normal(count);
  const Buffer sum = unwritten(count), wide = unwritten(count, 4), back = unwritten(count);
  add(a.data(), b.data(), sum.data(), count, stream());
  widen(a.data(), wide.floats(), count, stream());
  narrow(wide.floats(), back.data(), count, stream());
  const auto fa = floats(a), fb = floats(b);
  std::vector<float> wanted(fa);
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] += fb[i];
  EXPECT_LT(error_of(floats(sum), wanted), kTolerance);
  EXPECT_EQ(host<float>(wide), fa);
  EXPECT_EQ(floats(back), fa);
  const Buffer cast = unwritten(count, 1), turned = unwritten(count, 1);
  cast_fp8(a.data(), cast.data(), count, 4, stream());
  cast_fp8_transposed(a.data(), turned.data(), rows, cols, 4, stream());
  const auto plain = host<std::uint8_t>(cast), transposed = host<std::uint8_t>(turned);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < cols; ++c) ASSERT_EQ(plain[r * cols + c], transposed[c * rows + r]);
  }
}

// In double, of each vector of a row between its neighbours, which stay as they are.
TEST_F(GpuKernels, NormsOfHeads) {
  for (const std::int64_t width : {16, 64, 96, 128, 256}) {
    const HeadNormSize size{37, 3, width, 5 * width, width, 1e-5f};
    const Buffer x = normal(size.rows * size.stride), w = normal(width), dy = normal(size.rows * size.stride);
    Buffer dw(4 * width);
    clear(dw.data(), dw.bytes(), stream());
    const auto fx = floats(x), fw = floats(w), fdy = floats(dy);
    std::vector<double> y(fx.begin(), fx.end()), dx(fdy.begin(), fdy.end()),
        rdw(static_cast<std::size_t>(width), 0.0);
    for (std::int64_t v = 0; v < size.rows * size.heads; ++v) {
      const auto at =
          static_cast<std::size_t>(v / size.heads * size.stride + size.column + v % size.heads * width);
      const auto wide = static_cast<double>(width);
      double squares = 0, dots = 0;
      for (std::size_t i = 0; i < fw.size(); ++i) {
        const double in = fx[at + i];
        squares += in * in, dots += in * fdy[at + i] * fw[i];
      }
      const double scale = 1 / std::sqrt(squares / wide + 1e-5), mean = dots / wide * scale * scale;
      for (std::size_t i = 0; i < fw.size(); ++i) {
        y[at + i] = fx[at + i] * scale * fw[i];
        dx[at + i] = scale * (static_cast<double>(fw[i]) * fdy[at + i] - fx[at + i] * mean);
        rdw[i] += static_cast<double>(fdy[at + i]) * fx[at + i] * scale;
      }
    }
    head_norm_backward(size, {x.data(), w.data(), dy.data(), dw.floats()}, stream());
    head_norm_forward(size, w.data(), x.data(), stream());
    EXPECT_LT(error_of(floats(x), y), kTolerance) << width;
    EXPECT_LT(error_of(floats(dy), dx), kTolerance) << width;
    EXPECT_LT(error_of(host<float>(dw), rdw), 1e-4) << width;
  }
}

// One pass against two: norms of heads, then rotary positions; and back.
TEST_F(GpuKernels, NormsAndRotaryPositionsOfHeads) {
  for (const std::int64_t dim : {32, 64, 96, 128}) {
    const NormRopeSize size{45, 4, 2, dim, 15, 1e-5f};
    const std::int64_t stride = 8 * dim, count = size.rows * stride;
    const Buffer x = normal(count), w = normal(2 * dim), dy = normal(count), y = unwritten(count);
    const Buffer dx = unwritten(count), plain = unwritten(count), plain_dx = unwritten(count);
    std::vector<float> cosines, sines, back;
    for (std::int64_t i = 0; i < size.length * dim / 2; ++i) {
      const double angle = 0.1 * static_cast<double>(i % 61);
      cosines.push_back(static_cast<float>(std::cos(angle))),
          sines.push_back(static_cast<float>(std::sin(angle)));
      back.push_back(-sines.back());
    }
    const auto held = [&](const std::vector<float>& values) {
      Buffer out(static_cast<std::int64_t>(4 * values.size()));
      to_device(values.data(), out.data(), out.bytes(), stream());
      synchronise();
      return out;
    };
    const Buffer c = held(cosines), s = held(sines), b = held(back);
    Buffer dw(8 * dim), plain_dw(8 * dim);
    clear(dw.data(), dw.bytes(), stream()), clear(plain_dw.data(), plain_dw.bytes(), stream());
    norm_rope_forward(size, x.data(), w.data(), {c.floats(), s.floats()}, y.data(), stream());
    norm_rope_backward(size, {x.data(), w.data(), dy.data(), dx.data(), dw.floats()},
                       {c.floats(), b.floats()}, stream());
    on_device(x.data(), plain.data(), 2 * count, stream());
    on_device(dy.data(), plain_dx.data(), 2 * count, stream());
    const RopeSize turn{size.rows, 6, dim, stride, size.length};
    rope(turn, c.floats(), b.floats(), plain_dx.data(), stream());
    const char* weight = static_cast<const char*>(w.data());
    for (const bool key : {false, true}) {
      const HeadNormSize norm{size.rows, key ? 2 : 4, dim, stride, key ? 4 * dim : 0, 1e-5f};
      const std::int64_t part = key ? dim : 0;
      head_norm_forward(norm, weight + 2 * part, plain.data(), stream());
      head_norm_backward(norm, {x.data(), weight + 2 * part, plain_dx.data(), plain_dw.floats() + part},
                         stream());
    }
    rope(turn, c.floats(), s.floats(), plain.data(), stream());
    // Two roundings to bf16 against one.
    EXPECT_LT(error_of(floats(y), floats(plain)), 2 * kTolerance) << dim;
    EXPECT_LT(error_of(floats(dx), floats(plain_dx)), 2 * kTolerance) << dim;
    EXPECT_LT(error_of(host<float>(dw), host<float>(plain_dw)), 2 * kTolerance) << dim;
  }
}

// Rows with their numbers moved by blocks, more than go with one launch.
TEST_F(GpuKernels, RowsMovedByBlocks) {
  std::vector<float> weights;
  for (std::int64_t r = 0; r < 600; ++r) weights.push_back(static_cast<float>(r));
  Buffer factors(4 * 600);
  to_device(weights.data(), factors.data(), factors.bytes(), stream());
  synchronise();
  std::vector<RowBlockMove> moves;  // rows in pairs, from the last to the first
  constexpr std::int64_t kPairs = 300, kWidth = 24;
  for (std::int64_t i = 0; i < kPairs; ++i) moves.push_back({2 * (kPairs - 1 - i), 2 * i, 2});
  const Buffer rows = normal(2 * kPairs * kWidth), moved = unwritten(2 * kPairs * kWidth);
  const Buffer there = unwritten(2 * kPairs, 4);
  move_rows({moves.data(), kPairs, 2 * kWidth}, {rows.data(), moved.data(), factors.floats(), there.floats()},
            stream());
  const auto in = floats(rows), out = floats(moved), numbers = host<float>(there);
  for (std::size_t row = 0; row < 2 * kPairs; ++row) {
    const std::size_t from = 2 * (kPairs - 1 - row / 2) + row % 2;
    EXPECT_EQ(numbers[row], weights[from]);
    for (std::size_t i = 0; i < kWidth; ++i) EXPECT_EQ(out[row * kWidth + i], in[from * kWidth + i]);
  }
}

// Two ranks' parts of rows [q0 q1 | k0 k1 | v0 v1], in packs of eight equal numbers.
TEST_F(GpuKernels, HeadsSplitAndJoined) {
  const HeadSplit size{2, 3, 2, {32, 16, 16}};
  const Buffer rows = normal(2 * 3 * 64), parts = unwritten(2 * 3 * 64), back = unwritten(2 * 3 * 64);
  split_heads(size, rows.data(), parts.data(), stream());
  join_heads(size, parts.data(), back.data(), stream());
  const auto in = floats(rows), out = floats(parts);
  EXPECT_EQ(floats(back), in);
  const std::vector<std::vector<std::size_t>> columns = {{0, 8, 32, 48}, {16, 24, 40, 56}};  // of a rank
  std::size_t pack = 0;
  for (std::size_t sequence = 0; sequence < 2; ++sequence) {
    for (std::size_t rank = 0; rank < 2; ++rank) {
      for (std::size_t token = 0; token < 3; ++token) {
        for (const std::size_t column : columns[rank]) {
          for (std::size_t i = 0; i < 8; ++i)
            EXPECT_EQ(out[8 * pack + i], in[(sequence * 3 + token) * 64 + column + i]);
          ++pack;
        }
      }
    }
  }
}

}  // namespace
}  // namespace tw::gpu
