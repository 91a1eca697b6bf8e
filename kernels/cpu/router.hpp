// Router of experts: softmax over all experts, then the top k (Mixtral's order), ties to the lower index;
// and the auxiliary loss that balances load (Fedus et al. 2021, equation 4), one per sequence or of a whole
// micro-batch.
#pragma once

#include <vector>

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

struct RouterShape {
  std::int64_t rows, experts, top_k;
  bool renormalise;  // weights of the chosen divided by their sum
};

template <class A>
struct RouterChoice {
  A* probabilities;  // [rows, experts], softmax over all experts
  std::conditional_t<std::is_const_v<A>, const std::int32_t, std::int32_t>*
      experts;  // [rows, top_k], by falling probability
  A* weights;   // [rows, top_k]
};

// Loss of sequence s = coefficient * experts * sum over e of fractions[s, e] * (mean over the sequence's
// tokens of probability e). The fractions, of routes that went to e, come from counts summed over
// whoever shares the sequence, and are constants to the gradient. Rows may be a part of a sequence:
// `tokens` counts the whole one, and the losses of the parts add up.
template <class A>
struct LoadBalance {
  const A* fractions;             // [sequences, experts]
  const std::int32_t* sequences;  // [rows]
  std::int64_t tokens;
  double coefficient;  // 0: no auxiliary loss, and nothing else is read
};

template <class T>
struct Router {
  using A = Acc<T>;
  static void forward(const RouterShape& shape, const T* logits, const RouterChoice<A>& choice);
  // counts[sequence, expert] += routes of these rows.
  static void count_routes(const RouterShape& shape, const std::int32_t* experts,
                           const std::int32_t* sequences, std::int64_t* counts);
  // Counts of the sequences of a micro-batch become their mean: its auxiliary loss as a whole, coefficient *
  // experts * sum over e of f_e P_e of all its tokens, is then the mean of those of its sequences, since the
  // loss is linear in P (Megatron-LM's router.py: aux_loss, where ours of a sequence is its seq_aux_loss).
  static void pool(const RouterShape& shape, std::vector<double>& counts);
  // losses[sequence] += these rows' part.
  static void auxiliary_loss(const RouterShape& shape, const A* probabilities, const LoadBalance<A>& balance,
                             A* losses);
  // From the gradients of the weights [rows, top_k] and of the auxiliary loss, whose own gradient is
  // part of balance.coefficient.
  static void backward(const RouterShape& shape, const RouterChoice<const A>& choice, const A* dweights,
                       const LoadBalance<A>& balance, T* dlogits);
};

}  // namespace tw::cpu
