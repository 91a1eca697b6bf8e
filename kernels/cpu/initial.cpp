#include "kernels/cpu/initial.hpp"

#include <cmath>
#include <numbers>

namespace tw::cpu {
namespace {

std::uint32_t low(std::uint64_t x) {
  return static_cast<std::uint32_t>(x & 0xffff'ffffU);
}
std::uint32_t high(std::uint64_t x) {
  return static_cast<std::uint32_t>(x >> 32);
}

// Two numbers in [0, 1) with 53 bits each.
std::array<double, 2> uniforms(WeightKey key, std::uint64_t element) {
  const std::array<std::uint32_t, 4> bits = philox(
      {low(element), high(element), low(key.weight), high(key.weight)}, {low(key.seed), high(key.seed)});
  const auto unit = [](std::uint32_t a, std::uint32_t b) {
    return static_cast<double>(((std::uint64_t{a} << 32) | b) >> 11) * 0x1p-53;
  };
  return {unit(bits[0], bits[1]), unit(bits[2], bits[3])};
}

template <class T>
void fill_block(WeightKey key, const WeightBlock& block, double deviation,
                double (*value)(WeightKey, std::uint64_t), T* w) {
  for (std::int64_t i = 0; i < block.rows; ++i) {
    for (std::int64_t j = 0; j < block.width; ++j) {
      const auto element = static_cast<std::uint64_t>(block.first + i * block.stride + j);
      w[i * block.width + j] = static_cast<T>(static_cast<Acc<T>>(deviation * value(key, element)));
    }
  }
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD251'1F53U} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E'8D57U} * counter[2];
    counter = {high(b) ^ counter[1] ^ key[0], low(b), high(a) ^ counter[3] ^ key[1], low(a)};
    key = {key[0] + 0x9E37'79B9U, key[1] + 0xBB67'AE85U};
  }
  return counter;
}

double uniform_value(WeightKey key, std::uint64_t element) {
  return std::numbers::sqrt3 * (2 * uniforms(key, element)[0] - 1);
}

// Box and Muller 1958; 1 - u lies in (0, 1], so the logarithm is finite.
double normal_value(WeightKey key, std::uint64_t element) {
  const auto [u, v] = uniforms(key, element);
  return std::sqrt(-2 * std::log(1 - u)) * std::cos(2 * std::numbers::pi * v);
}

template <class T>
void Initial<T>::uniform(WeightKey key, const WeightBlock& block, double deviation, T* w) {
  fill_block(key, block, deviation, uniform_value, w);
}

template <class T>
void Initial<T>::normal(WeightKey key, const WeightBlock& block, double deviation, T* w) {
  fill_block(key, block, deviation, normal_value, w);
}

template struct Initial<double>;
template struct Initial<float>;
template struct Initial<bf16>;

}  // namespace tw::cpu
