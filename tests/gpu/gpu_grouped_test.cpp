// Grouped products against a double reference on the CPU, over loads and sizes that fit no tile.
#include <cmath>
#include <numeric>

#include "kernels/cpu/linear.hpp"
#include "kernels/grouped_ops.hpp"
#include "kernels/routing_ops.hpp"
#include "tests/gpu/gpu_kernels.hpp"

namespace tw::gpu {
namespace {

using Rows = std::vector<std::int64_t>;

struct Load {
  const char* name;
  Rows rows;
  std::int64_t weights;  // 0: as many as groups
};

Rows dealt(std::int64_t groups, std::int64_t factor, std::int64_t below) {
  Rows out;
  for (std::int64_t i = 0; i < groups; ++i) out.push_back(factor * i * i % below);
  return out;
}

const Load kLoads[] = {{"even", {128, 128, 128}, 0},
                       {"one row each", {1, 1, 1, 1, 1}, 0},
                       {"prime", {127, 131, 257, 61, 2}, 0},
                       {"empty", {0, 0, 300, 0, 1, 0, 129, 0}, 0},
                       {"skewed", {700, 3, 40, 64, 65, 63, 128, 1}, 0},
                       {"one has all", {0, 0, 333}, 0},
                       {"none", {0, 0}, 0},
                       {"lists of the same weights", {70, 0, 131, 5, 64, 200}, 3},
                       {"more than one launch", dealt(300, 7, 11), 0}};
struct Shape {
  std::int64_t n, k;
};
constexpr Shape kShapes[] = {{512, 256}, {264, 200}, {8, 8}, {128, 1032}};

class Grouped : public GpuKernels {
 protected:
  struct Held {
    Buffer counts;
    GroupedRows rows;
    std::vector<cpu::Segment> segments;
  };
  Held hold(const Load& load) {
    Held out;
    out.counts = Buffer(static_cast<std::int64_t>(8 * load.rows.size()));
    to_device(load.rows.data(), out.counts.data(), out.counts.bytes(), stream());
    synchronise();
    const auto groups = static_cast<std::int64_t>(load.rows.size());
    const std::int64_t weights = load.weights > 0 ? load.weights : groups;
    std::int64_t first = 0;
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t rows = load.rows[static_cast<std::size_t>(g)];
      out.segments.push_back({g % weights, first, rows}), first += rows;
    }
    out.rows = {static_cast<const std::int64_t*>(out.counts.data()), groups, weights, first};
    return out;
  }
  // At least a pack, so that there is memory to point to.
  Buffer operand(std::int64_t count, float scale = 1) {
    return normal(std::max<std::int64_t>(count, 8), scale);
  }
  std::vector<double> doubles(const Buffer& from) {
    const std::vector<float> in = floats(from);
    return {in.begin(), in.end()};
  }
  void expect_close(const std::vector<float>& got, std::vector<double> wanted, double limit) {
    if (wanted.empty()) return;
    EXPECT_LT(error_of(got, wanted), limit);
  }
};

std::size_t size_of(std::int64_t rows, std::int64_t width) {
  return static_cast<std::size_t>(rows * width);
}

TEST_F(Grouped, ForwardAndDgrad) {
  for (const Load& load : kLoads) {
    for (const auto& [n, k] : kShapes) {
      SCOPED_TRACE(testing::Message() << load.name << ", n " << n << ", k " << k);
      const Held held = hold(load);
      const std::int64_t total = held.rows.total, weights = held.rows.weights;
      const Buffer x = operand(total * k), w = operand(weights * n * k), dy = operand(total * n);
      const Buffer y = unwritten(std::max<std::int64_t>(total, 1) * n),
                   dx = unwritten(std::max<std::int64_t>(total, 1) * k);
      grouped_forward({n, k}, held.rows, x.data(), w.data(), y.data(), stream());
      grouped_dgrad({n, k}, held.rows, dy.data(), w.data(), dx.data(), stream());
      std::vector<double> ry(size_of(total, n)), rdx(size_of(total, k));
      const auto fx = doubles(x), fw = doubles(w), fdy = doubles(dy);
      cpu::GroupedLinear<double>::forward({k, n, held.segments}, fx.data(), fw.data(), ry.data());
      cpu::GroupedLinear<double>::dgrad({k, n, held.segments}, fdy.data(), fw.data(), rdx.data());
      expect_close(floats(y), ry, kTolerance);
      expect_close(floats(dx), rdx, kTolerance);
    }
  }
}

// Added to what is there; a weight without rows stays as it is.
TEST_F(Grouped, WeightGradient) {
  for (const Load& load : kLoads) {
    for (const auto& [n, k] : kShapes) {
      SCOPED_TRACE(testing::Message() << load.name << ", n " << n << ", k " << k);
      const Held held = hold(load);
      const std::int64_t total = held.rows.total, count = held.rows.weights * n * k;
      const Buffer x = operand(total * k), dy = operand(total * n);
      Buffer dw(4 * count);
      fill_normal_fp32(dw.floats(), count, 1, 77, stream());
      const std::vector<float> before = host<float>(dw);
      std::vector<double> wanted(before.begin(), before.end());
      grouped_wgrad({n, k}, held.rows, dy.data(), x.data(), dw.floats(), stream());
      const auto fx = doubles(x), fdy = doubles(dy);
      cpu::GroupedLinear<double>::wgrad({k, n, held.segments}, fdy.data(), fx.data(), wanted.data());
      expect_close(host<float>(dw), wanted, 1e-5);
      std::vector<bool> any(static_cast<std::size_t>(held.rows.weights), false);
      for (const cpu::Segment& each : held.segments)
        if (each.rows > 0) any[static_cast<std::size_t>(each.group)] = true;
      const std::vector<float> after = host<float>(dw);
      for (std::size_t i = 0; i < after.size(); ++i)
        ASSERT_TRUE(any[i / static_cast<std::size_t>(n * k)] || after[i] == before[i]) << i;
    }
  }
}

// Over what is there: a weight without rows is zero.
TEST_F(Grouped, WeightGradientWrittenOver) {
  for (const Load& load : kLoads) {
    for (const auto& [n, k] : kShapes) {
      SCOPED_TRACE(testing::Message() << load.name << ", n " << n << ", k " << k);
      const Held held = hold(load);
      const std::int64_t total = held.rows.total, count = held.rows.weights * n * k;
      const Buffer x = operand(total * k), dy = operand(total * n), dw = unwritten(count, 4);
      std::vector<double> wanted(size_of(held.rows.weights, n * k), 0.0);
      grouped_wgrad({n, k}, held.rows, dy.data(), x.data(), dw.floats(), stream(), Into::fp32);
      const auto fx = doubles(x), fdy = doubles(dy);
      cpu::GroupedLinear<double>::wgrad({k, n, held.segments}, fdy.data(), fx.data(), wanted.data());
      const std::vector<float> after = host<float>(dw);
      if (total > 0) expect_close(after, wanted, 1e-5);
      for (std::size_t i = 0; i < after.size(); ++i)
        ASSERT_TRUE(wanted[i] != 0 ? std::isfinite(after[i]) : after[i] == 0) << i;
    }
  }
}

TEST_F(Grouped, GateUpAndTheirActivation) {
  for (const Load& load : kLoads) {
    for (const auto& [width, k] : {Shape{128, 200}, Shape{384, 64}}) {
      SCOPED_TRACE(testing::Message() << load.name << ", width " << width << ", k " << k);
      const Held held = hold(load);
      const std::int64_t total = held.rows.total, rows = std::max<std::int64_t>(total, 1);
      const Buffer x = operand(total * k), w = operand(held.rows.weights * 2 * width * k, 0.1f);
      const Buffer factor(4 * rows), gate_up = unwritten(2 * rows * width), act = unwritten(rows * width);
      std::vector<float> factors;
      for (std::int64_t r = 0; r < rows; ++r) factors.push_back(static_cast<float>(r % 13) / 13.0f);
      to_device(factors.data(), factor.data(), 4 * rows, stream());
      grouped_swiglu({width, k}, held.rows, x.data(), w.data(), {factor.floats(), gate_up.data(), act.data()},
                     stream());
      std::vector<double> both(size_of(total, 2 * width)), wanted(size_of(total, width));
      const auto fx = doubles(x), fw = doubles(w);
      cpu::GroupedLinear<double>::forward({k, 2 * width, held.segments}, fx.data(), fw.data(), both.data());
      expect_close(floats(gate_up), both, kTolerance);
      const std::vector<float> kept = floats(gate_up);  // the activation is of the rounded ones
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        const auto w_ = static_cast<std::size_t>(width);
        const std::size_t row = i / w_, col = i % w_;
        const double gate = kept[2 * row * w_ + col], up = kept[(2 * row + 1) * w_ + col];
        wanted[i] = gate / (1 + std::exp(-gate)) * up * factors[row];
      }
      expect_close(floats(act), wanted, kTolerance);
    }
  }
}

}  // namespace
}  // namespace tw::gpu
