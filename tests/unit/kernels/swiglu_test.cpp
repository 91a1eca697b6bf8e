#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {
namespace {

Tensor forward(SwigluShape shape, const Tensor& gate_up, const double* factor) {
  Tensor act = zeros(shape.rows * shape.width);
  Swiglu<double>::forward(shape, gate_up.data(), factor, act.data());
  return act;
}

TEST(Swiglu, ByHand) {
  // gate = ln 3: sigmoid = 3/4. gate = 0: silu = 0. Very negative gates give 0, not NaN.
  const Tensor gate_up = {std::log(3.0), 0, -1e6, 4, 5, 6};
  const double factor = 0.5;
  expect_equal(forward({1, 3}, gate_up, nullptr), {3 * std::log(3.0), 0, 0}, 1e-15);
  expect_equal(forward({1, 3}, gate_up, &factor), {1.5 * std::log(3.0), 0, 0}, 1e-15);
}

TEST(Swiglu, GradientsAreThoseOfDifferences) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Random random(seed);
    const SwigluShape shape{random.whole(1, 5), random.whole(1, 6)};
    Tensor gate_up = random.tensor(2 * shape.rows * shape.width);
    Tensor factor = random.tensor(shape.rows);
    const Tensor dact = random.tensor(shape.rows * shape.width);
    Tensor dgate_up(gate_up.size());
    Tensor dfactor(factor.size());
    Swiglu<double>::backward(shape, gate_up.data(), factor.data(), dact.data(),
                             {dgate_up.data(), dfactor.data()});
    expect_gradients([&] { return dot(forward(shape, gate_up, factor.data()), dact); },
                     {{"gate_up", &gate_up, &dgate_up}, {"factor", &factor, &dfactor}});
    Swiglu<double>::backward(shape, gate_up.data(), nullptr, dact.data(), {dgate_up.data(), nullptr});
    expect_gradients([&] { return dot(forward(shape, gate_up, nullptr), dact); },
                     {{"gate_up", &gate_up, &dgate_up}});
  }
}

template <class T>
class SwigluIn : public testing::Test {};
TYPED_TEST_SUITE(SwigluIn, NarrowTypes);

// A sigmoid errs by an exponential (2 u at most), an addition and a division: 5 u with its own rounding;
// the gradient of the gate has 1 + g (1 - s), whose terms may cancel, so it is bounded by their
// sizes: (1 - s) errs by 6 u of 1. Sums over the row add n u.
TYPED_TEST(SwigluIn, ErrsByItsRoundings) {
  using T = TypeParam;
  const double u = kUnit<Acc<T>>;
  Random random(8);
  const SwigluShape shape{9, 37};
  const Twin<T> gate_up(random.tensor(2 * 9 * 37));
  const Twin<T> dact(random.tensor(9 * 37));
  const Twin<Acc<T>> factor(random.tensor(9));
  std::vector<T> act(9 * 37);
  Swiglu<T>::forward(shape, gate_up.narrow.data(), factor.narrow.data(), act.data());
  const Tensor expected = forward(shape, gate_up.wide, factor.wide.data());
  expect_within(act, expected, times(9 * u, absolute(expected)));

  std::vector<T> dgate_up(gate_up.narrow.size());
  std::vector<Acc<T>> dfactor(9);
  Swiglu<T>::backward(shape, gate_up.narrow.data(), factor.narrow.data(), dact.narrow.data(),
                      {dgate_up.data(), dfactor.data()});
  Tensor exact(dgate_up.size());
  Tensor exact_factor(9);
  Swiglu<double>::backward(shape, gate_up.wide.data(), factor.wide.data(), dact.wide.data(),
                           {exact.data(), exact_factor.data()});
  Tensor bound(exact.size());
  Tensor factor_bound = zeros(9);
  for (std::size_t row = 0; row < 9; ++row) {
    for (std::size_t i = 0; i < 37; ++i) {
      const double gate = gate_up.wide[74 * row + i];
      const double up = gate_up.wide[74 * row + 37 + i];
      const double upstream = std::abs(dact.wide[37 * row + i]);
      const double s = 1 / (1 + std::exp(-gate));
      bound[74 * row + i] = 20 * u * upstream * std::abs(factor.wide[row] * up) * s * (1 + std::abs(gate));
      bound[74 * row + 37 + i] = 10 * u * upstream * std::abs(factor.wide[row] * gate) * s;
      factor_bound[row] += (37 + 9) * u * upstream * std::abs(gate * up) * s;
    }
  }
  expect_within(dgate_up, exact, bound);
  expect_within(dfactor, exact_factor, factor_bound);
}

}  // namespace
}  // namespace tw::cpu
