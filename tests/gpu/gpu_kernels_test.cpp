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

TEST_F(GpuKernels, LossAndItsGradient) {
  constexpr std::int64_t rows = 19, count = 4096;
  const Buffer logits = normal(rows * count, 3);
  const auto before = floats(logits);
  std::vector<std::int32_t> targets;
  for (std::int32_t i = 0; i < rows; ++i) targets.push_back(i * 211 % count);
  Buffer on_gpu(4 * rows), loss(4 * rows);
  to_device(targets.data(), on_gpu.data(), 4 * rows, stream());
  cross_entropy({rows, count, 0.5f}, static_cast<const std::int32_t*>(on_gpu.data()), loss.floats(),
                logits.data(), stream());
  const cpu::VocabularyRange range{rows, 0, count, count};
  std::vector<cpu::CrossEntropy<float>::Part> parts(rows);
  std::vector<float> wanted(rows), gradient(before.size());
  cpu::CrossEntropy<float>::forward(range, before.data(), targets.data(), parts.data());
  cpu::CrossEntropy<float>::loss(rows, parts.data(), wanted.data());
  cpu::CrossEntropy<float>::backward(range, {before.data(), targets.data(), parts.data()}, 0.5,
                                     gradient.data());
  EXPECT_LT(error_of(host<float>(loss), wanted), 1e-5);
  EXPECT_LT(error_of(floats(logits), gradient), kTolerance);
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

// Routes of experts in order, and rows with their numbers moved by blocks, more than go with one launch.
TEST_F(GpuKernels, RoutesAndRowsInOrder) {
  const RouterSize size{1003, 24, 3, false};
  const std::int64_t all = size.rows * size.top_k;
  std::vector<std::int32_t> experts;
  std::vector<float> weights;
  for (std::int64_t r = 0; r < all; ++r) {
    experts.push_back(static_cast<std::int32_t>(r * r % 23));  // the last has none
    weights.push_back(static_cast<float>(r));
  }
  const auto device = [&](const void* data, std::int64_t bytes) {
    Buffer out(bytes);
    to_device(data, out.data(), bytes, stream());
    synchronise();
    return out;
  };
  const Buffer chosen = device(experts.data(), 4 * all), factors = device(weights.data(), 4 * all);
  const Buffer counts = unwritten(24, 8), route = unwritten(all, 4), token = unwritten(all, 4),
               place = unwritten(all, 4), factor = unwritten(all, 4);
  const auto ints = [](const Buffer& buffer) { return static_cast<std::int32_t*>(buffer.data()); };
  order_routes(
      size, {nullptr, ints(chosen), factors.floats()},
      {static_cast<std::int64_t*>(counts.data()), ints(route), ints(token), ints(place), factor.floats()},
      stream());
  std::vector<std::int32_t> wanted(experts.size());
  std::iota(wanted.begin(), wanted.end(), 0);
  std::stable_sort(wanted.begin(), wanted.end(), [&](auto a, auto b) {
    return experts[static_cast<std::size_t>(a)] < experts[static_cast<std::size_t>(b)];
  });
  EXPECT_EQ(host<std::int32_t>(route), wanted);
  const auto tokens = host<std::int32_t>(token), places = host<std::int32_t>(place);
  const auto sorted = host<float>(factor);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(tokens[i], wanted[i] / 3);
    EXPECT_EQ(places[static_cast<std::size_t>(wanted[i])], static_cast<std::int32_t>(i));
    EXPECT_EQ(sorted[i], static_cast<float>(wanted[i]));
  }
  for (std::int64_t e = 0; e < 24; ++e)
    EXPECT_EQ(host<std::int64_t>(counts)[static_cast<std::size_t>(e)],
              std::count(experts.begin(), experts.end(), e));

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
