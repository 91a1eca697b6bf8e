#include "kernels/cpu/cross_entropy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tw::cpu {
namespace {

// Entries of the range that are not padding.
std::int64_t real_count(const VocabularyRange& range) {
  return std::clamp<std::int64_t>(range.limit - range.first, 0, range.count);
}

template <class T>
SoftmaxPart<Acc<T>> part_of(std::int64_t count, const T* logits, std::int64_t target) {
  using A = Acc<T>;
  SoftmaxPart<A> part{-std::numeric_limits<A>::infinity(), 0, 0};
  for (std::int64_t i = 0; i < count; ++i) part.maximum = std::max(part.maximum, static_cast<A>(logits[i]));
  for (std::int64_t i = 0; i < count; ++i) part.sum += std::exp(static_cast<A>(logits[i]) - part.maximum);
  if (target >= 0 && target < count) part.target = static_cast<A>(logits[target]);
  return part;
}

// The part's sum relative to a larger maximum; an empty part has none.
template <class A>
A sum_at(const SoftmaxPart<A>& part, A maximum) {
  return part.sum > 0 ? part.sum * std::exp(part.maximum - maximum) : A{0};
}

}  // namespace

template <class T>
void CrossEntropy<T>::forward(const VocabularyRange& range, const T* logits, const std::int32_t* targets,
                              Part* parts) {
  for (std::int64_t row = 0; row < range.rows; ++row) {
    parts[row] = part_of(real_count(range), logits + row * range.count, targets[row] - range.first);
  }
}

template <class T>
void CrossEntropy<T>::merge(std::int64_t rows, const Part* others, Part* parts) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto maximum = std::max(parts[row].maximum, others[row].maximum);
    parts[row] = {maximum, sum_at(parts[row], maximum) + sum_at(others[row], maximum),
                  parts[row].target + others[row].target};
  }
}

template <class T>
void CrossEntropy<T>::loss(std::int64_t rows, const Part* parts, Acc<T>* loss) {
  for (std::int64_t row = 0; row < rows; ++row) {
    loss[row] = std::log(parts[row].sum) + parts[row].maximum - parts[row].target;
  }
}

template <class T>
void CrossEntropy<T>::backward(const VocabularyRange& range, const Saved& saved, double scale, T* dlogits) {
  using A = Acc<T>;
  const std::int64_t real = real_count(range);
  for (std::int64_t row = 0; row < range.rows; ++row) {
    const Part& part = saved.parts[row];
    const T* from = saved.logits + row * range.count;
    T* to = dlogits + row * range.count;
    const std::int64_t target = saved.targets[row] - range.first;
    for (std::int64_t i = 0; i < real; ++i) {
      const A softmax = std::exp(static_cast<A>(from[i]) - part.maximum) / part.sum;
      to[i] = static_cast<T>((softmax - (i == target ? A{1} : A{0})) * static_cast<A>(scale));
    }
    std::fill(to + real, to + range.count, T{});
  }
}

template struct CrossEntropy<double>;
template struct CrossEntropy<float>;
template struct CrossEntropy<bf16>;

}  // namespace tw::cpu
