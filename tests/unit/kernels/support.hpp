// What the tests of operators share: random tensors, gradients by finite differences, and comparison of
// a result in T with one in double under a bound that each test derives from unit roundoffs.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/ops.hpp"

namespace tw::cpu {

using Tensor = std::vector<double>;

// Largest relative error of one rounding to nearest: 53, 24 and 8 significant bits.
template <class T>
inline constexpr double kUnit = std::is_same_v<T, double>  ? 0x1p-53
                                : std::is_same_v<T, float> ? 0x1p-24
                                                           : 0x1p-8;

inline std::size_t index(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  std::int64_t whole(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(engine_);
  }
  Tensor tensor(std::int64_t count) {
    Tensor values(index(count));
    for (double& value : values) value = normal_(engine_);
    return values;
  }
  std::vector<std::int32_t> indices(std::int64_t count, std::int64_t below) {
    std::vector<std::int32_t> values(index(count));
    for (std::int32_t& value : values) value = static_cast<std::int32_t>(whole(0, below - 1));
    return values;
  }
  template <class X>
  void shuffle(std::vector<X>& values) {
    std::shuffle(values.begin(), values.end(), engine_);
  }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<double> normal_;
};

inline Tensor zeros(std::int64_t count) {
  return Tensor(index(count), 0.0);
}

inline double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline double largest(const Tensor& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::abs(value));
  return most;
}

inline Tensor absolute(Tensor values) {
  for (double& value : values) value = std::abs(value);
  return values;
}

// An input of an operator, and the gradient of the loss in it that the backward gave.
struct Checked {
  std::string name;
  Tensor* input;
  const Tensor* gradient;
};

// Central differences over h and 2h, (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h: with h = 10^-3 it errs by
// h^4 / 30 of the fifth derivative, and by about 10^-13 of the loss through rounding. Each element
// must agree to 10^-7 of itself and 10^-8 of the tensor's largest.
inline void expect_gradients(const std::function<double()>& loss, const std::vector<Checked>& checked) {
  const double h = 1e-3;
  for (const Checked& one : checked) {
    ASSERT_EQ(one.input->size(), one.gradient->size()) << one.name;
    const double floor = 1e-8 * largest(*one.gradient);
    for (std::size_t i = 0; i < one.input->size(); ++i) {
      double& x = (*one.input)[i];
      const double kept = x;
      const auto at = [&](double step) {
        x = kept + step;
        return loss();
      };
      const double slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
      x = kept;
      EXPECT_NEAR((*one.gradient)[i], slope, 1e-7 * std::abs(slope) + floor + 1e-11)
          << one.name << "[" << i << "]";
    }
  }
}

template <class T>
std::vector<T> rounded(const Tensor& values) {
  std::vector<T> result(values.size());
  std::transform(values.begin(), values.end(), result.begin(),
                 [](double value) { return static_cast<T>(static_cast<Acc<T>>(value)); });
  return result;
}

template <class T>
Tensor widened(const std::vector<T>& values) {
  Tensor result(values.size());
  std::transform(values.begin(), values.end(), result.begin(),
                 [](T value) { return static_cast<double>(static_cast<Acc<T>>(value)); });
  return result;
}

// A tensor in T, and the same values in double.
template <class T>
struct Twin {
  explicit Twin(const Tensor& values) : narrow(rounded<T>(values)), wide(widened(narrow)) {}

  std::vector<T> narrow;
  Tensor wide;
};

// |actual - expected| <= bound + one rounding to T of the expected value.
template <class T>
void expect_within(const std::vector<T>& actual, const Tensor& expected, const Tensor& bound) {
  ASSERT_EQ(actual.size(), expected.size());
  const Tensor wide = widened(actual);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    EXPECT_NEAR(wide[i], expected[i], bound[i] + kUnit<T> * std::abs(expected[i])) << i;
  }
}

inline Tensor times(double factor, Tensor values) {
  for (double& value : values) value *= factor;
  return values;
}

inline void expect_equal(const Tensor& actual, const Tensor& expected, double relative = 0) {
  ASSERT_EQ(actual.size(), expected.size());
  const double most = largest(expected);
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], relative * most) << i;
}

using NarrowTypes = testing::Types<float, bf16>;

}  // namespace tw::cpu
