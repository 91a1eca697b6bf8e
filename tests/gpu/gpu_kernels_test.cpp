// Our CUDA kernels and the library calls against the operators of kernels/cpu on the same random inputs.
// Needs a GPU; without one every case is skipped. Tolerances: a bf16 result rounds once (2^-9 of the value),
// so the relative error of a whole tensor is below 3e-3 where inputs are equal.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "kernels/backend/gpu/attention.hpp"
#include "kernels/backend/gpu/device.hpp"
#include "kernels/backend/gpu/gemm.hpp"
#include "kernels/bf16.hpp"
#include "kernels/ops.hpp"
#include "kernels/ring_ops.hpp"
#include "kernels/routing_ops.hpp"
#include "kernels/training_ops.hpp"

namespace tw::gpu {
namespace {

constexpr double kTolerance = 3e-3;

class GpuKernels : public testing::Test {
 protected:
  void SetUp() override {
    if (device_count() == 0) GTEST_SKIP() << "no GPU";
    use_device(0);
    stream_ = std::make_unique<OwnedStream>();
  }
  Stream stream() const { return *stream_; }
  Buffer normal(std::int64_t count, float scale = 1) {
    Buffer made(2 * count);
    fill_normal(made.data(), count, scale, ++seed_, stream());
    return made;
  }
  // Poisoned: what is not written stays NaN.
  Buffer unwritten(std::int64_t count, std::int64_t width = 2) {
    Buffer made(width * count);
    const std::vector<std::uint8_t> poison(static_cast<std::size_t>(width * count), 0xff);
    to_device(poison.data(), made.data(), width * count, stream());
    synchronise();
    return made;
  }
  template <class T>
  std::vector<T> host(const Buffer& from) {
    std::vector<T> out(static_cast<std::size_t>(from.bytes()) / sizeof(T));
    to_host(from.data(), out.data(), from.bytes(), stream());
    synchronise();
    return out;
  }
  std::vector<float> floats(const Buffer& from) {
    std::vector<float> out;
    for (const bf16 each : host<bf16>(from)) out.push_back(static_cast<float>(each));
    return out;
  }
  std::unique_ptr<OwnedStream> stream_;
  std::uint64_t seed_ = 0;
};

template <class A, class B>
double error_of(const std::vector<A>& got, const std::vector<B>& wanted) {
  double difference = 0, whole = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double w = static_cast<double>(wanted[i]), d = static_cast<double>(got[i]) - w;
    difference += d * d, whole += w * w;
  }
  return got.size() < wanted.size() ? NAN : std::sqrt(difference / whole);
}

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

// Softmax in double, straight from its definition.
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

struct PlainAttention {
  std::vector<float> out, dq, dk, dv;
};
PlainAttention plain(const AttentionCall& c, const std::vector<float>& q, const std::vector<float>& k,
                     const std::vector<float>& v, const std::vector<float>& dout) {
  PlainAttention r{std::vector<float>(q.size()), std::vector<float>(q.size()), std::vector<float>(k.size()),
                   std::vector<float>(k.size())};
  const auto d = static_cast<std::size_t>(c.head_dim), l = static_cast<std::size_t>(c.length);
  const auto h = static_cast<std::size_t>(c.heads), hk = static_cast<std::size_t>(c.kv_heads);
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  for (std::size_t b = 0; b < static_cast<std::size_t>(c.batch); ++b) {
    for (std::size_t head = 0; head < h; ++head) {
      for (std::size_t i = 0; i < l; ++i) {
        const std::size_t at = ((b * l + i) * h + head) * d;
        std::vector<double> p(i + 1), dp(i + 1);
        double sum = 0, mean = 0;
        const auto key = [&](std::size_t j) { return ((b * l + j) * hk + head / (h / hk)) * d; };
        for (std::size_t j = 0; j <= i; ++j) {
          for (std::size_t e = 0; e < d; ++e) p[j] += static_cast<double>(q[at + e]) * k[key(j) + e] * scale;
          for (std::size_t e = 0; e < d; ++e) dp[j] += static_cast<double>(dout[at + e]) * v[key(j) + e];
          sum += p[j] = std::exp(p[j]);
        }
        for (std::size_t j = 0; j <= i; ++j) mean += (p[j] /= sum) * dp[j];
        for (std::size_t j = 0; j <= i; ++j) {
          const double ds = p[j] * (dp[j] - mean) * scale;
          for (std::size_t e = 0; e < d; ++e) {
            r.out[at + e] += static_cast<float>(p[j] * v[key(j) + e]);
            r.dq[at + e] += static_cast<float>(ds * k[key(j) + e]);
            r.dk[key(j) + e] += static_cast<float>(ds * q[at + e]);
            r.dv[key(j) + e] += static_cast<float>(p[j] * dout[at + e]);
          }
        }
      }
    }
  }
  return r;
}

TEST_F(GpuKernels, CausalAttention) {
  const Dnn dnn(stream());
  for (const AttentionCall& base :
       {AttentionCall{2, 4, 4, 256, 128}, {1, 8, 2, 384, 128}, {2, 4, 1, 256, 64}}) {
    AttentionCall call = base;
    const std::int64_t wide = call.batch * call.length * call.heads * call.head_dim;
    const std::int64_t thin = wide / call.heads * call.kv_heads;
    const Buffer q = normal(wide), k = normal(thin), v = normal(thin), dout = normal(wide);
    const Buffer out = unwritten(wide), dq = unwritten(wide), dk = unwritten(thin), dv = unwritten(thin);
    const Buffer sums = unwritten(call.batch * call.heads * call.length, 4);
    const AttentionPointers at{q.data(),    k.data(),  v.data(),  out.data(), sums.data(),
                               dout.data(), dq.data(), dk.data(), dv.data()};
    AttentionKernel(dnn, call).run(at);
    synchronise();
    call.backward = true;
    AttentionKernel(dnn, call).run(at);
    const PlainAttention wanted = plain(call, floats(q), floats(k), floats(v), floats(dout));
    // bf16 probabilities and score gradients inside: an error of 2^-9 in each of many terms.
    EXPECT_LT(error_of(floats(out), wanted.out), 5e-3);
    EXPECT_LT(error_of(floats(dq), wanted.dq), 1e-2);
    EXPECT_LT(error_of(floats(dk), wanted.dk), 1e-2);
    EXPECT_LT(error_of(floats(dv), wanted.dv), 1e-2);
  }
}

// Two ranks of a ring, each with two of the four quarters of each sequence, against whole attention.
class ZigzagAttention : public GpuKernels {
 protected:
  static constexpr std::int64_t kBatch = 2, kHeads = 4, kKv = 2, kDim = 64, kRows = 192, kHalf = kRows / 2;
  static constexpr std::int64_t kQ = kHeads * kDim, kK = kKv * kDim, kWide = kQ + 2 * kK;
  static constexpr std::int64_t kAll = kBatch * kRows;
  using Floats = std::vector<float>;

  // A rank's rows of whole sequences.
  static Floats rows_of(const Floats& whole, std::int64_t width, std::int64_t rank) {
    Floats out;
    for (std::int64_t b = 0; b < kBatch; ++b) {
      for (const std::int64_t quarter : {rank, 3 - rank}) {
        const auto first = whole.begin() + ((b * 4 + quarter) * kHalf) * width;
        out.insert(out.end(), first, first + kHalf * width);
      }
    }
    return out;
  }
  // Side by side in one row each.
  Buffer joined(const std::vector<std::pair<Floats, std::int64_t>>& parts) {
    std::vector<bf16> out;
    for (std::int64_t row = 0; row < kAll; ++row) {
      for (const auto& [values, width] : parts) {
        for (std::int64_t i = row * width; i < (row + 1) * width; ++i)
          out.push_back(static_cast<bf16>(values[static_cast<std::size_t>(i)]));
      }
    }
    Buffer made(2 * std::ssize(out));
    to_device(out.data(), made.data(), made.bytes(), stream());
    synchronise();
    return made;
  }
  static Floats columns(const Floats& rows, std::int64_t stride, std::int64_t first, std::int64_t width) {
    Floats out;
    for (std::int64_t i = first; i < std::ssize(rows); i += stride)
      out.insert(out.end(), rows.begin() + i, rows.begin() + i + width);
    return out;
  }
  static char* at(const Buffer& from, std::int64_t element) {
    return static_cast<char*>(from.data()) + 2 * element;
  }
};

TEST_F(ZigzagAttention, IsThatOfWholeSequences) {
  const Dnn dnn(stream());
  const AttentionCall whole{kBatch, kHeads, kKv, 2 * kRows, kDim};
  const Floats q = floats(normal(2 * kAll * kQ)), k = floats(normal(2 * kAll * kK)),
               v = floats(normal(2 * kAll * kK)), dout = floats(normal(2 * kAll * kQ));
  const PlainAttention wanted = plain(whole, q, k, v, dout);
  std::vector<Floats> dk(2, Floats(kAll * kK)), dv(2, Floats(kAll * kK));  // of each rank's own keys
  const auto add = [](Floats& to, const Floats& more) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += more[i];
  };
  for (const std::int64_t rank : {0, 1}) {
    const std::int64_t other = 1 - rank, first = rank == 0 ? kHalf : 0, count = rank == 0 ? kHalf : kRows;
    const Buffer rows =
        joined({{rows_of(q, kQ, rank), kQ}, {rows_of(k, kK, rank), kK}, {rows_of(v, kK, rank), kK}});
    const Buffer block = joined({{rows_of(k, kK, other), kK}, {rows_of(v, kK, other), kK}});
    const Buffer upstream = joined({{rows_of(dout, kQ, rank), kQ}});
    AttentionCall own{kBatch, kHeads, kKv, kRows, kDim, false, kWide};
    AttentionCall foreign = own;
    foreign.length = count, foreign.causal = false, foreign.kv_length = rank == 0 ? kRows : kHalf;
    foreign.kv_stride = 2 * kK, foreign.sequence = kRows;
    const Buffer part = unwritten(kAll * kQ), state = unwritten(kAll * kQ, 4), out = unwritten(kAll * kQ);
    const Buffer sums = unwritten(kAll * kHeads, 4), part_sums = unwritten(kBatch * kHeads * count, 4),
                 all_sums = unwritten(kAll * kHeads, 4);
    AttentionKernel(dnn, own).run({at(rows, 0), at(rows, kQ), at(rows, kQ + kK), part.data(), sums.data()});
    widen(part.data(), state.floats(), kAll * kQ, stream());
    AttentionKernel(dnn, foreign)
        .run({at(rows, first * kWide), at(block, 0), at(block, kK), at(part, first * kQ), part_sums.data()});
    const FoldSize size{kBatch, kRows, kHeads, kDim, first, count};
    finish_attention(size, {part.data(), part_sums.floats()}, {state.floats(), sums.floats()}, out.data(),
                     all_sums.floats(), stream());
    fold_attention(size, {part.data(), part_sums.floats()}, {state.floats(), sums.floats()}, stream());
    EXPECT_LT(error_of(floats(out), rows_of(wanted.out, kQ, rank)), 5e-3);
    EXPECT_LT(error_of(host<float>(state), floats(out)), kTolerance);
    EXPECT_LT(error_of(host<float>(sums), host<float>(all_sums)), 1e-6);

    own.backward = foreign.backward = true;
    const Buffer made = unwritten(kAll * kWide), dq = unwritten(kAll * kWide),
                 gradient = unwritten(kAll * kWide, 4);
    Buffer away(2 * kAll * 2 * kK);
    clear(away.data(), away.bytes(), stream());
    copy_rows({kBatch * kHeads, count * 4, kRows * 4, count * 4}, all_sums.floats() + first, part_sums.data(),
              stream());
    AttentionKernel(dnn, own).run({at(rows, 0), at(rows, kQ), at(rows, kQ + kK), out.data(), all_sums.data(),
                                   upstream.data(), at(made, 0), at(made, kQ), at(made, kQ + kK)});
    AttentionKernel(dnn, foreign)
        .run({at(rows, first * kWide), at(block, 0), at(block, kK), at(out, first * kQ), part_sums.data(),
              at(upstream, first * kQ), at(dq, first * kWide), at(away, 0), at(away, kK)});
    widen(made.data(), gradient.floats(), kAll * kWide, stream());
    add_rows({kBatch, kRows, count, kQ, kWide, kWide}, at(dq, first * kWide),
             gradient.floats() + first * kWide, stream());
    const Floats of_rows = host<float>(gradient), of_block = floats(away);
    EXPECT_LT(error_of(columns(of_rows, kWide, 0, kQ), rows_of(wanted.dq, kQ, rank)), 1e-2);
    const auto here = static_cast<std::size_t>(rank), there = static_cast<std::size_t>(other);
    add(dk[here], columns(of_rows, kWide, kQ, kK)), add(dv[here], columns(of_rows, kWide, kQ + kK, kK));
    add(dk[there], columns(of_block, 2 * kK, 0, kK)), add(dv[there], columns(of_block, 2 * kK, kK, kK));
  }
  for (const std::int64_t rank : {0, 1}) {
    EXPECT_LT(error_of(dk[static_cast<std::size_t>(rank)], rows_of(wanted.dk, kK, rank)), 1e-2);
    EXPECT_LT(error_of(dv[static_cast<std::size_t>(rank)], rows_of(wanted.dv, kK, rank)), 1e-2);
  }
}

}  // namespace
}  // namespace tw::gpu
