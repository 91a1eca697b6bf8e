#include "kernels/cpu/router.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "topology/check.hpp"

namespace tw::cpu {
namespace {

template <class T>
void softmax_row(std::int64_t count, const T* logits, Acc<T>* probabilities) {
  using A = Acc<T>;
  std::transform(logits, logits + count, probabilities, [](T logit) { return static_cast<A>(logit); });
  const A maximum = *std::max_element(probabilities, probabilities + count);
  A sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += probabilities[i] = std::exp(probabilities[i] - maximum);
  for (std::int64_t i = 0; i < count; ++i) probabilities[i] /= sum;
}

// The first k of `order` become the k largest logits. Logits, not probabilities: these may round to ties.
template <class T>
void top_k(std::int64_t k, const T* logits, std::vector<std::int32_t>& order) {
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](std::int32_t a, std::int32_t b) {
    const auto x = static_cast<Acc<T>>(logits[a]);
    const auto y = static_cast<Acc<T>>(logits[b]);
    return x > y || (x == y && a < b);
  });
}

template <class A>
A slope(const RouterShape& shape, const LoadBalance<A>& balance) {
  return static_cast<A>(balance.coefficient * static_cast<double>(shape.experts) /
                        static_cast<double>(balance.tokens));
}

template <class A>
struct Chosen {
  const std::int32_t* experts;
  const A* weights;
  const A* dweights;
};

// Adds the gradients of the chosen probabilities. Renormalised, weight = p / s with s the sum of the
// chosen, so dp = (dweight - sum of dweight * weight) / s, and s = p / weight.
template <class A>
void add_chosen(const RouterShape& shape, const A* probabilities, const Chosen<A>& chosen,
                A* dprobabilities) {
  A mean = 0;
  A sum = 1;
  if (shape.renormalise) {
    sum = 0;
    for (std::int64_t j = 0; j < shape.top_k; ++j) {
      mean += chosen.dweights[j] * chosen.weights[j];
      sum += probabilities[chosen.experts[j]];
    }
  }
  for (std::int64_t j = 0; j < shape.top_k; ++j) {
    dprobabilities[chosen.experts[j]] += (chosen.dweights[j] - mean) / sum;
  }
}

}  // namespace

template <class T>
void Router<T>::forward(const RouterShape& shape, const T* logits, const RouterChoice<A>& choice) {
  TW_CHECK(shape.top_k >= 1 && shape.top_k <= shape.experts);
  std::vector<std::int32_t> order(static_cast<std::size_t>(shape.experts));
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    A* probabilities = choice.probabilities + row * shape.experts;
    A* weights = choice.weights + row * shape.top_k;
    softmax_row(shape.experts, logits + row * shape.experts, probabilities);
    top_k(shape.top_k, logits + row * shape.experts, order);
    std::copy_n(order.begin(), shape.top_k, choice.experts + row * shape.top_k);
    std::transform(order.begin(), order.begin() + shape.top_k, weights,
                   [&](std::int32_t expert) { return probabilities[expert]; });
    const A sum = shape.renormalise ? std::accumulate(weights, weights + shape.top_k, A{0}) : A{1};
    for (std::int64_t j = 0; j < shape.top_k; ++j) weights[j] /= sum;
  }
}

template <class T>
void Router<T>::count_routes(const RouterShape& shape, const std::int32_t* experts,
                             const std::int32_t* sequences, std::int64_t* counts) {
  for (std::int64_t route = 0; route < shape.rows * shape.top_k; ++route) {
    ++counts[sequences[route / shape.top_k] * shape.experts + experts[route]];
  }
}

template <class T>
void Router<T>::pool(const RouterShape& shape, std::vector<double>& counts) {
  const auto experts = static_cast<std::size_t>(shape.experts), sequences = counts.size() / experts;
  for (std::size_t e = 0; e < experts; ++e) {
    double sum = 0;
    for (std::size_t s = 0; s < sequences; ++s) sum += counts[s * experts + e];
    for (std::size_t s = 0; s < sequences; ++s)
      counts[s * experts + e] = sum / static_cast<double>(sequences);
  }
}

template <class T>
void Router<T>::auxiliary_loss(const RouterShape& shape, const A* probabilities,
                               const LoadBalance<A>& balance, A* losses) {
  if (balance.coefficient == 0) return;
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    const A* fractions = balance.fractions + balance.sequences[row] * shape.experts;
    const A* own = probabilities + row * shape.experts;
    losses[balance.sequences[row]] +=
        slope(shape, balance) * std::inner_product(own, own + shape.experts, fractions, A{0});
  }
}

template <class T>
void Router<T>::backward(const RouterShape& shape, const RouterChoice<const A>& choice, const A* dweights,
                         const LoadBalance<A>& balance, T* dlogits) {
  std::vector<A> dp(static_cast<std::size_t>(shape.experts));
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    const A* p = choice.probabilities + row * shape.experts;
    std::fill(dp.begin(), dp.end(), A{0});
    if (balance.coefficient != 0) {
      const A* fractions = balance.fractions + balance.sequences[row] * shape.experts;
      std::transform(fractions, fractions + shape.experts, dp.begin(),
                     [&](A fraction) { return slope(shape, balance) * fraction; });
    }
    const std::int64_t first = row * shape.top_k;
    add_chosen<A>(shape, p, {choice.experts + first, choice.weights + first, dweights + first}, dp.data());
    const A mean = std::inner_product(dp.begin(), dp.end(), p, A{0});
    std::transform(dp.begin(), dp.end(), p, dlogits + row * shape.experts, [&](A gradient, A probability) {
      return static_cast<T>(probability * (gradient - mean));
    });
  }
}

template struct Router<double>;
template struct Router<float>;
template struct Router<bf16>;

}  // namespace tw::cpu
