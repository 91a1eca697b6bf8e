// Kernels of routed layers against the operators of kernels/cpu in double: loads that are random, skewed,
// empty and ragged, sizes of one, primes and the largest.
#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

#include "kernels/cpu/router.hpp"
#include "kernels/cpu/swiglu.hpp"
#include "kernels/routing_ops.hpp"
#include "tests/gpu/gpu_kernels.hpp"

namespace tw::gpu {
namespace {

class Routing : public GpuKernels {
 protected:
  template <class T>
  Buffer held(const std::vector<T>& values) {
    Buffer out(static_cast<std::int64_t>(values.size() * sizeof(T)));
    to_device(values.data(), out.data(), out.bytes(), stream());
    synchronise();
    return out;
  }
  std::vector<double> doubles(const Buffer& from) {
    const std::vector<float> in = floats(from);
    return {in.begin(), in.end()};
  }
};

std::int32_t* ints(const Buffer& buffer) {
  return static_cast<std::int32_t*>(buffer.data());
}
std::size_t size_of(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

// bf16 logits of few values have ties, which go to the lower index.
TEST_F(Routing, ChoiceAndItsGradient) {
  struct Size {
    std::int64_t rows, experts, top_k;
    bool renormalise;
  };
  for (const auto& [rows, experts, top_k, renormalise] :
       {Size{1, 1, 1, true}, Size{37, 8, 2, true}, Size{101, 7, 7, false}, Size{64, 33, 3, true},
        Size{257, 64, 6, false}, Size{8195, 128, 8, true}, Size{40, 256, 8, true}, Size{19, 513, 16, false},
        Size{23, 1024, 16, true}}) {
    SCOPED_TRACE(testing::Message() << rows << " rows, " << experts << " experts, " << top_k);
    const RouterSize size{rows, experts, top_k, renormalise};
    const std::int64_t all = rows * top_k, sequences = 3;
    std::mt19937 random(7);
    std::vector<float> logits(size_of((rows * experts + 7) / 8 * 8)), dweights(size_of(all));
    std::normal_distribution<float> normal;
    for (float& each : logits) each = std::round(normal(random) * 16) / 16;
    for (float& each : dweights) each = normal(random);
    std::vector<std::int32_t> of_row(size_of(rows));
    for (std::int64_t r = 0; r < rows; ++r)
      of_row[size_of(r)] = static_cast<std::int32_t>(r * sequences / rows);
    std::vector<float> fractions(size_of(sequences * experts));
    for (float& each : fractions) each = std::abs(normal(random)) / static_cast<float>(experts);
    std::vector<bf16> rounded(logits.begin(), logits.end());
    const Buffer in = held(rounded), d = held(dweights), f = held(fractions), s = held(of_row);
    const Buffer p = unwritten(rows * experts, 4), chosen = unwritten(all, 4), weights = unwritten(all, 4),
                 dlogits = unwritten(rows * experts);
    const RouterChoice choice{p.floats(), ints(chosen), weights.floats()};
    router_forward(size, in.data(), choice, stream());
    const std::vector<double> exact = doubles(in);
    std::vector<double> wp(size_of(rows * experts)), ww(size_of(all)), wd(wp.size());
    std::vector<std::int32_t> wc(size_of(all));
    const cpu::RouterShape shape{rows, experts, top_k, renormalise};
    cpu::Router<double>::forward(shape, exact.data(), {wp.data(), wc.data(), ww.data()});
    EXPECT_EQ(host<std::int32_t>(chosen), wc);
    EXPECT_LT(error_of(host<float>(p), wp), 1e-6);
    EXPECT_LT(error_of(host<float>(weights), ww), 1e-6);
    for (const float slope : {0.0f, 0.25f}) {
      router_backward(size, choice, d.floats(), {f.floats(), slope, ints(s)}, dlogits.data(), stream());
      const std::vector<double> dw(dweights.begin(), dweights.end()), df(fractions.begin(), fractions.end());
      const double coefficient = static_cast<double>(slope) / static_cast<double>(experts);
      cpu::Router<double>::backward(shape, {wp.data(), wc.data(), ww.data()}, dw.data(),
                                    {df.data(), of_row.data(), 1, coefficient}, wd.data());
      double whole = 0;  // of one expert, and of all that are chosen and renormalised, the gradient is zero
      for (const double each : wd) whole += each * each;
      if (whole > 1e-12) {
        EXPECT_LT(error_of(floats(dlogits), wd), kTolerance) << slope;
      }
    }
  }
}

TEST_F(Routing, OrderOfRoutes) {
  using Chooses = std::function<std::int32_t(std::int64_t, std::int64_t)>;  // route, experts
  struct Load {
    const char* name;
    Chooses chooses;
  };
  std::mt19937 random(11);
  const Load loads[] = {
      {"random",
       [&](auto, auto e) { return static_cast<std::int32_t>(random() % static_cast<unsigned>(e)); }},
      {"one has all", [](auto, auto e) { return static_cast<std::int32_t>(e / 2); }},
      {"skewed", [&](auto, auto e) { return static_cast<std::int32_t>(random() % 8 == 0 ? e - 1 : 0); }},
      {"in turn", [](auto r, auto e) { return static_cast<std::int32_t>(r % e); }}};
  struct Size {
    std::int64_t rows, experts, top_k;
  };
  for (const Load& load : loads) {
    for (const auto& [rows, experts, top_k] :
         {Size{1, 1, 1}, Size{1, 1024, 1}, Size{127, 7, 1}, Size{1031, 24, 3}, Size{8192, 128, 8},
          Size{5000, 1024, 16}, Size{65536, 8, 2}}) {
      SCOPED_TRACE(testing::Message() << load.name << ", " << rows << " rows, " << experts << " experts");
      const std::int64_t all = rows * top_k;
      std::vector<std::int32_t> chosen;
      std::vector<float> weights;
      for (std::int64_t r = 0; r < all; ++r)
        chosen.push_back(load.chooses(r, experts)), weights.push_back(static_cast<float>(r % 1009));
      const Buffer c = held(chosen), w = held(weights);
      const Buffer counts = unwritten(experts, 8), place = unwritten(all, 4), factor = unwritten(all, 4);
      order_routes({rows, experts, top_k, false}, {nullptr, ints(c), w.floats()},
                   {static_cast<std::int64_t*>(counts.data()), ints(place), factor.floats()}, stream());
      std::vector<std::int32_t> order(chosen.size()), places(chosen.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](auto a, auto b) { return chosen[size_of(a)] < chosen[size_of(b)]; });
      std::vector<float> factors;
      std::vector<std::int64_t> each(size_of(experts), 0);
      for (const std::int32_t e : chosen) ++each[size_of(e)];
      for (std::size_t i = 0; i < order.size(); ++i) {
        places[size_of(order[i])] = static_cast<std::int32_t>(i),
        factors.push_back(weights[size_of(order[i])]);
      }
      EXPECT_EQ(host<std::int32_t>(place), places);
      EXPECT_EQ(host<float>(factor), factors);
      EXPECT_EQ(host<std::int64_t>(counts), each);
    }
  }
}

TEST_F(Routing, RowsThereAndBack) {
  struct Size {
    std::int64_t tokens, top_k, width;
  };
  for (const auto& [tokens, top_k, width] :
       {Size{1, 1, 8}, Size{37, 2, 4096}, Size{101, 3, 96}, Size{64, 6, 2056}, Size{1031, 8, 2048},
        Size{5, 16, 7168}, Size{7, 4, 16384}}) {
    SCOPED_TRACE(testing::Message() << tokens << " tokens of " << width << ", " << top_k);
    const std::int64_t all = tokens * top_k;
    std::vector<std::int32_t> place(size_of(all)), token(size_of(all));
    std::iota(place.begin(), place.end(), 0);
    std::shuffle(place.begin(), place.end(), std::mt19937(3));
    for (std::int64_t r = 0; r < all; ++r)
      token[size_of(place[size_of(r)])] = static_cast<std::int32_t>(r / top_k);
    const Buffer p = held(place), t = held(token), x = normal(tokens * width), rows = normal(all * width);
    const Buffer there = unwritten(all * width), spread = unwritten(all * width),
                 back = unwritten(tokens * width);
    gather_rows({all, width}, ints(t), x.data(), there.data(), stream());
    spread_rows({tokens, top_k, width}, ints(p), x.data(), spread.data(), stream());
    sum_routes({tokens, top_k, width}, ints(p), rows.data(), back.data(), stream());
    const std::vector<float> fx = floats(x), fr = floats(rows);
    std::vector<float> wanted(size_of(all * width));
    std::vector<double> sums(size_of(tokens * width), 0.0);
    for (std::int64_t i = 0; i < all * width; ++i) {
      wanted[size_of(i)] = fx[size_of(token[size_of(i / width)] * width + i % width)];
      sums[size_of(i / width / top_k * width + i % width)] +=
          static_cast<double>(fr[size_of(place[size_of(i / width)] * width + i % width)]);
    }
    EXPECT_EQ(floats(there), wanted);
    EXPECT_EQ(floats(spread), wanted);
    EXPECT_LT(error_of(floats(back), sums), kTolerance);
  }
}

TEST_F(Routing, ActivationWithFactors) {
  struct Size {
    std::int64_t rows, width;
  };
  for (const auto& [rows, width] :
       {Size{1, 8}, Size{37, 768}, Size{131, 2048}, Size{67, 2056}, Size{5, 14336}}) {
    SCOPED_TRACE(testing::Message() << rows << " rows of " << width);
    const Buffer gate_up = normal(2 * rows * width), dact = normal(rows * width);
    std::vector<float> factors;
    for (std::int64_t r = 0; r < rows; ++r) factors.push_back(static_cast<float>(r % 13) / 13.0f);
    const Buffer factor = held(factors), act = unwritten(rows * width),
                 dgate_up = unwritten(2 * rows * width), dfactor = unwritten(rows, 4);
    routed_swiglu_forward({rows, width}, gate_up.data(), factor.floats(), act.data(), stream());
    routed_swiglu_backward({rows, width},
                           {gate_up.data(), dact.data(), factor.floats(), dgate_up.data(), dfactor.floats()},
                           stream());
    const std::vector<double> g = doubles(gate_up), d = doubles(dact), f(factors.begin(), factors.end());
    std::vector<double> wact(d.size()), wdg(g.size()), wdf(f.size());
    cpu::Swiglu<double>::forward({rows, width}, g.data(), f.data(), wact.data());
    cpu::Swiglu<double>::backward({rows, width}, g.data(), f.data(), d.data(), {wdg.data(), wdf.data()});
    const auto none = [](const std::vector<double>& all) {
      return std::all_of(all.begin(), all.end(), [](double each) { return each == 0; });
    };
    if (!none(wact)) {
      EXPECT_LT(error_of(floats(act), wact), kTolerance);
      EXPECT_LT(error_of(floats(dgate_up), wdg), kTolerance);
    }
    EXPECT_LT(error_of(host<float>(dfactor), wdf), 1e-4);
  }
}

}  // namespace
}  // namespace tw::gpu
