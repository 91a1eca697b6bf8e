#include "kernels/cpu/rope.hpp"

#include <cmath>
#include <vector>

#include "topology/check.hpp"

namespace tw::cpu {
namespace {

template <class A>
struct Turn {
  A cosine, sine;
};

// Angles are in double for every T: at position 10^5 a float's would be off by 0.004.
template <class A>
void set_turns(const std::vector<double>& frequencies, double position, std::vector<Turn<A>>& turns) {
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const double angle = position * frequencies[i];
    turns[i] = {static_cast<A>(std::cos(angle)), static_cast<A>(std::sin(angle))};
  }
}

template <class T>
void turn_head(const std::vector<Turn<Acc<T>>>& turns, T* lower) {
  using A = Acc<T>;
  T* upper = lower + turns.size();
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const auto a = static_cast<A>(lower[i]);
    const auto b = static_cast<A>(upper[i]);
    lower[i] = static_cast<T>(a * turns[i].cosine - b * turns[i].sine);
    upper[i] = static_cast<T>(b * turns[i].cosine + a * turns[i].sine);
  }
}

template <class T>
void turn_rows(const RopeShape& shape, const std::int32_t* positions, double direction, Rows<T> x) {
  TW_CHECK(shape.head_dim % 2 == 0);
  const auto half = static_cast<std::size_t>(shape.head_dim / 2);
  std::vector<double> frequencies(half);
  for (std::size_t i = 0; i < half; ++i) {
    frequencies[i] = std::pow(shape.theta, -static_cast<double>(i) / static_cast<double>(half));
  }
  std::vector<Turn<Acc<T>>> turns(half);
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    set_turns(frequencies, direction * positions[row], turns);
    for (std::int64_t head = 0; head < shape.heads; ++head) turn_head(turns, x[row] + head * shape.head_dim);
  }
}

}  // namespace

template <class T>
void Rope<T>::forward(const RopeShape& shape, const std::int32_t* positions, Rows<T> x) {
  turn_rows(shape, positions, 1, x);
}

template <class T>
void Rope<T>::backward(const RopeShape& shape, const std::int32_t* positions, Rows<T> dx) {
  turn_rows(shape, positions, -1, dx);
}

template struct Rope<double>;
template struct Rope<float>;
template struct Rope<bf16>;

}  // namespace tw::cpu
