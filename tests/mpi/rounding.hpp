// What a number format may do to a run, found in double precision. Rounding changes every stored value by
// up to half a place of the format, and every sum by the places of the type it is added up in. To first
// order these changes add up linearly: a run in double whose operations have each of their results changed
// at random by k times as much is k times as far from the exact one as a run in the format is. Which
// roundings lie on the way to a gradient, how sums cancel, and what the layout adds (partial sums that are
// rounded before they are added) needs no estimate this way.
#pragma once

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <tuple>

#include "tests/mpi/passing.hpp"
#include "tests/mpi/support.hpp"

namespace tw::train {

// The expert of a token is a choice, and no rounding bounds what another one changes. So the choices of
// the exact run are used by all, and a run that would have chosen otherwise is looked at by itself.
struct Choices {
  using Token = std::tuple<std::int64_t, std::int32_t, std::int64_t, std::int32_t>;  // step, layer, ...
  struct Of {
    std::vector<std::int32_t> experts;
    std::vector<double> probabilities;
    double margin = 0;  // between the last one chosen and the first one not
  };
  std::map<Token, Of> tokens;
  // Of a run that uses them:
  std::int64_t other = 0;    // tokens with another choice
  double widest_margin = 0;  // of these, by the exact probabilities
  double farthest = 0;       // of any probability, from the exact one
};

// An engine whose routed layers choose as they did when `choices` was recorded.
template <class E>
class Forced : public Passing<E> {
 public:
  using typename Passing<E>::Value;
  using typename Passing<E>::Call;
  Forced(E& inner, const View& view, Choices& choices, bool records)
      : Passing<E>(inner), view_(view), choices_(choices), records_(records) {}

  void end_step() { this->inner_.end_step(), ++step_; }
  void op(const Step& step, Call& call) {
    this->inner_.op(step, call);
    if (call.io.what == Operator::choose && !call.backward()) choose(call);
  }

 private:
  void choose(const Call& call) {
    auto& choice = *call.writes[0];
    const auto top = choice.experts.size() / static_cast<std::size_t>(choice.rows);
    const auto all = static_cast<std::size_t>(choice.width);
    const std::int64_t first = view_.program().first_sequence(view_.rank(), call.microbatch);
    const std::int32_t layer = view_.units()[static_cast<std::size_t>(call.unit)].layer;
    for (std::size_t row = 0; row < static_cast<std::size_t>(choice.rows); ++row) {
      const Choices::Token token = {step_, layer, first + view_.sequences(choice.rows)[row],
                                    view_.positions(choice.rows)[row]};
      const std::span experts(choice.experts.data() + row * top, top);
      const std::span weights(choice.weights.data() + row * top, top);
      const std::span probabilities(choice.sums.data() + row * all, all);
      if (records_)
        record(choices_.tokens[token], experts, probabilities);
      else
        use(choices_.tokens.at(token), experts, weights, probabilities);
    }
  }
  template <class Sums>
  void record(Choices::Of& out, std::span<std::int32_t> experts, Sums probabilities) {
    out.experts.assign(experts.begin(), experts.end());
    out.probabilities.assign(probabilities.begin(), probabilities.end());
    std::vector<double> sorted = out.probabilities;
    std::sort(sorted.rbegin(), sorted.rend());
    out.margin = sorted[experts.size() - 1] - sorted[experts.size()];
  }
  template <class Sums>
  void use(const Choices::Of& exact, std::span<std::int32_t> experts, Sums weights, Sums probabilities) {
    const auto sorted = [](auto list) {
      std::vector<std::int32_t> out(list.begin(), list.end());
      std::sort(out.begin(), out.end());
      return out;
    };
    if (sorted(experts) != sorted(exact.experts))
      ++choices_.other, choices_.widest_margin = std::max(choices_.widest_margin, exact.margin);
    for (std::size_t e = 0; e < probabilities.size(); ++e)
      choices_.farthest = std::max(choices_.farthest,
                                   std::abs(static_cast<double>(probabilities[e]) - exact.probabilities[e]));
    std::copy(exact.experts.begin(), exact.experts.end(), experts.begin());
    auto sum = probabilities[0] * 0;
    for (const std::int32_t e : experts) sum += probabilities[static_cast<std::size_t>(e)];
    for (std::size_t i = 0; i < experts.size(); ++i)
      weights[i] = probabilities[static_cast<std::size_t>(experts[i])] / sum;
  }

  const View& view_;
  Choices& choices_;
  bool records_;
  std::int64_t step_ = 0;
};

// Of a type that elements are stored in: half a place at 1, of stored values and of sums.
struct Roundoff {
  double stored, summed;
  double enlarged;  // the power of two that makes a stored value's change 2^-20, far from double's own
};
template <class T>
Roundoff roundoff_of() {
  const double summed = std::numeric_limits<cpu::Acc<T>>::epsilon() / 2;
  const double stored = std::is_same_v<T, bf16> ? 0x1p-8 : summed;
  return {stored, summed, 0x1p-20 / stored};
}

// An engine in double whose results are each changed as rounding would. Stored: by up to half a place at
// the value. Sums of n terms in the accumulation type: each partial sum is rounded; with partial sums that
// grow like a random walk the error is sqrt(n/2) half places of the largest, here the root mean square of
// the result.
template <class E>
class Nudged : public Passing<E> {
 public:
  using typename Passing<E>::Value;
  using typename Passing<E>::Call;
  Nudged(E& inner, const View& view, Roundoff roundoff, std::uint64_t seed)
      : Passing<E>(inner), view_(view), roundoff_(roundoff), state_(seed * 0x9e3779b97f4a7c15ULL + 1) {}

  void op(const Step& step, Call& call) {
    const double terms = terms_of(call);
    this->inner_.op(step, call);
    const bool scores = call.io.what == Operator::score || call.io.what == Operator::merge_scores;
    for (const Value& value : call.writes) {
      if (!value) continue;
      if (scores && !call.backward()) {
        nudge_scores(value->sums, terms);
        continue;
      }
      nudge(value->data, roundoff_.stored, terms);
      nudge(value->sums, roundoff_.summed, terms);
      nudge(value->weights, roundoff_.summed, terms);
    }
  }

 private:
  // Terms of the sums that an operation makes for one element of its result.
  double terms_of(const Call& call) const {
    const double width =
        call.reads.empty() || !call.reads[0] ? 1.0 : static_cast<double>(call.reads[0]->width);
    switch (call.io.what) {
      case Operator::linear:
      case Operator::norm:
      case Operator::score:
      case Operator::choose:
        return width;
      case Operator::head_norm:
        return static_cast<double>(call.io.heads.head_dim);
      case Operator::attention:
      case Operator::ring_return:
        return static_cast<double>(view_.seq() + call.io.heads.head_dim);
      default:
        return kFew;
    }
  }
  static constexpr double kFew = 4;  // elementwise operators take a few operations, collectives a few ranks

  template <class A>
  void nudge(std::vector<A>& values, double stored, double terms) {
    double squares = 0;
    for (const A value : values) squares += value * value;
    if (squares == 0) return;
    const double mean = std::sqrt(squares / static_cast<double>(values.size()));
    const double sums = roundoff_.summed * std::sqrt(terms / 2) * mean;
    for (A& value : values) {
      const double place = value == 0 ? 0 : std::exp2(std::floor(std::log2(std::abs(value))));
      value += roundoff_.enlarged * (stored * place * random() + sums * random());
    }
  }
  // (maximum, sum, target) of each row: only the sum is one, of positive terms; the others are as stored.
  void nudge_scores(std::vector<double>& parts, double terms) {
    for (std::size_t i = 1; i < parts.size(); i += 3)
      parts[i] *= 1 + roundoff_.enlarged * roundoff_.summed * std::sqrt(terms / 2) * random();
  }
  double random() {  // in [-1, 1); xorshift64* (Vigna 2016)
    state_ ^= state_ >> 12, state_ ^= state_ << 25, state_ ^= state_ >> 27;
    return static_cast<double>((state_ * 0x2545f4914f6cdd1dULL) >> 11) * 0x1p-52 - 1;
  }

  const View& view_;
  Roundoff roundoff_;
  std::uint64_t state_;
};

}  // namespace tw::train
