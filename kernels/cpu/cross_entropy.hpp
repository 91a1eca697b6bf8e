// Cross-entropy over a vocabulary that may be cut into ranges. Each range gives a part per row; merged
// parts give the loss, log(sum) + maximum - target, and the gradient of each range's logits.
#pragma once

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

// Logits [rows, count] of the entries [first, first + count); entries from `limit` on are padding of the
// vocabulary: they take no part, and get no gradient.
struct VocabularyRange {
  std::int64_t rows, first, count, limit;
};

template <class A>
struct SoftmaxPart {
  A maximum;  // largest logit, -infinity where the range is all padding
  A sum;      // of exp(logit - maximum)
  A target;   // the target's logit, 0 where it lies in another range
};

template <class T>
struct CrossEntropy {
  using Part = SoftmaxPart<Acc<T>>;
  static void forward(const VocabularyRange& range, const T* logits, const std::int32_t* targets,
                      Part* parts);
  // parts = parts and others, of two ranges with no entry in common.
  static void merge(std::int64_t rows, const Part* others, Part* parts);
  static void loss(std::int64_t rows, const Part* parts, Acc<T>* loss);
  // dlogits = (softmax - onehot) * scale, from parts merged over all ranges; dlogits may be logits.
  struct Saved {
    const T* logits;
    const std::int32_t* targets;
    const Part* parts;
  };
  static void backward(const VocabularyRange& range, const Saved& saved, double scale, T* dlogits);
};

}  // namespace tw::cpu
