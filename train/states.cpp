#include "train/states.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "topology/check.hpp"
#include "train/tensor.hpp"

namespace tw::train {
namespace {

std::size_t at(std::int64_t value) {
  return static_cast<std::size_t>(value);
}

}  // namespace

template <class T>
UnitState<T>::UnitState(const View& view, const Unit& unit, const Settings& settings)
    : flat_(flatten(view, unit)),
      cuts_parameters_(view.program().cuts_parameters()),
      cuts_gradients_(view.program().cuts_gradients()) {
  for (std::size_t s = 0; s < 2; ++s) {
    const FlatScope& scope = flat_.scopes[s];
    Part& part = parts_[s];
    for (std::vector<Sum>* states : {&part.master, &part.first_moment, &part.second_moment})
      states->assign(at(scope.piece), Sum(0));
    (cuts_gradients_ ? part.cut : part.gradients)
        .assign(at(cuts_gradients_ ? scope.piece : scope.padded), Sum(0));
    (cuts_parameters_ ? part.own : part.parameters)
        .assign(at(cuts_parameters_ ? scope.piece : scope.padded), T(0));
  }
  initialise(settings);
}

template <class T>
void UnitState<T>::initialise(const Settings& settings) {
  for (std::size_t s = 0; s < 2; ++s) {
    for (std::size_t w = 0; w < flat_.scopes[s].weights.size(); ++w) {
      const FlatWeight& flat = flat_.scopes[s].weights[w];
      Sum* master = parts_[s].master.data();
      visit_piece(flat_.scopes[s], w,
                  [&](const Run&, std::int64_t local, std::int64_t global, std::int64_t count) {
                    if (begins_at_one(flat)) return std::fill_n(master + local, count, Sum(1)), void();
                    const cpu::WeightKey key{settings.seed, flat.id};
                    cpu::Initial<Sum>::normal(key, {global, 1, count, count}, settings.initial_deviation,
                                              master + local);
                  });
    }
  }
  refresh();
}

template <class T>
T* UnitState<T>::own(std::size_t s) {
  return cuts_parameters_ ? parts_[s].own.data() : parts_[s].parameters.data() + flat_.scopes[s].first;
}

template <class T>
void UnitState<T>::refresh() {
  for (std::size_t s = 0; s < 2; ++s) {
    const std::vector<Sum>& master = parts_[s].master;
    std::transform(master.begin(), master.end(), own(s), [](Sum value) { return static_cast<T>(value); });
  }
}

template <class T>
const T* UnitState<T>::weight(std::size_t index) const {
  const auto [s, place] = flat_.where[index];
  TW_CHECK(!parts_[s].parameters.empty());
  return parts_[s].parameters.data() + flat_.scopes[s].weights[place].offset;
}

template <class T>
typename UnitState<T>::Sum* UnitState<T>::gradient(std::size_t index) {
  for (std::size_t i = 0; i < 2; ++i) {
    std::vector<Sum>& gradients = parts_[i].gradients;
    if (gradients.empty()) gradients.assign(at(flat_.scopes[i].padded), Sum(0));
  }
  const auto [s, place] = flat_.where[index];
  return parts_[s].gradients.data() + flat_.scopes[s].weights[place].offset;
}

template <class T>
void UnitState<T>::gather(Messages& messages) {
  for (std::size_t s = 0; s < 2; ++s) {
    const FlatScope& scope = flat_.scopes[s];
    Part& part = parts_[s];
    if (scope.elements == 0) continue;
    const std::vector<T> piece(own(s), own(s) + scope.piece);
    part.parameters.resize(at(scope.padded));
    messages.all_gather(scope.shards, piece.data(), scope.piece * static_cast<std::int64_t>(sizeof(T)),
                        part.parameters.data());
  }
}

template <class T>
void UnitState<T>::release() {
  for (Part& part : parts_) part.parameters = std::vector<T>();
}

// The piece of the sum over the shards, added over the replicas, and where it is cut off to what earlier
// calls left.
template <class T>
void UnitState<T>::reduce(Messages& messages) {
  for (std::size_t s = 0; s < 2; ++s) {
    const FlatScope& scope = flat_.scopes[s];
    Part& part = parts_[s];
    if (scope.elements == 0) continue;
    if (part.gradients.empty()) part.gradients.assign(at(scope.padded), Sum(0));
    std::vector<Sum> piece(at(scope.piece));
    const std::vector<std::int64_t> counts(scope.shards.size(), scope.piece);
    messages.reduce_scatter(scope.shards, part.gradients.data(), counts, piece.data());
    messages.all_reduce(scope.replicas, piece.data(), scope.piece);
    if (!cuts_gradients_) {
      std::copy(piece.begin(), piece.end(), reduced(s).begin());
      continue;
    }
    cpu::accumulate(scope.piece, piece.data(), part.cut.data());
    part.gradients = std::vector<Sum>();  // not {}, which keeps the buffer
  }
}

// One all-reduce for each set of sharers, of what they share and nothing else; where that lies in the
// pieces of others, of nothing.
template <class T>
void UnitState<T>::sum_shared(Messages& messages) {
  for (std::size_t s = 0; s < 2; ++s) {
    const FlatScope& scope = flat_.scopes[s];
    if (!scope.shared || scope.cuts.size() == 1) continue;
    std::map<std::pair<std::size_t, std::size_t>, std::vector<std::span<Sum>>> of_sharers;
    for (std::size_t w = 0; w < scope.weights.size(); ++w) {
      for (const Run& run : scope.runs[w]) {
        if (run.sharers > 1) of_sharers[{run.sharers_first, run.sharers}];
      }
      visit_piece(
          flat_.scopes[s], w, [&](const Run& run, std::int64_t local, std::int64_t, std::int64_t count) {
            if (run.sharers == 1) return;
            of_sharers[{run.sharers_first, run.sharers}].push_back(reduced(s).subspan(at(local), at(count)));
          });
    }
    for (const auto& [sharers, shared] : of_sharers)
      sum_together(messages, Group(scope.cuts).subspan(sharers.first, sharers.second), shared);
  }
}

template <class T>
void UnitState<T>::sum_together(Messages& messages, Group group, const std::vector<std::span<Sum>>& parts) {
  std::vector<Sum> packed;
  for (const std::span<Sum> part : parts) packed.insert(packed.end(), part.begin(), part.end());
  messages.all_reduce(group, packed.data(), static_cast<std::int64_t>(packed.size()));
  auto from = packed.begin();
  for (const std::span<Sum> part : parts) {
    std::copy_n(from, part.size(), part.begin());
    from += static_cast<std::ptrdiff_t>(part.size());
  }
}

template <class T>
void UnitState<T>::sum_copies(Messages& messages, Group group) {
  for (std::size_t s = 0; s < 2; ++s) {
    const std::span<Sum> piece = reduced(s);
    if (!piece.empty()) messages.all_reduce(group, piece.data(), static_cast<std::int64_t>(piece.size()));
  }
}

template <class T>
void UnitState<T>::add_reduced(const UnitState& other) {
  for (std::size_t s = 0; s < 2; ++s) {
    const std::span<const Sum> from = other.reduced(s);
    cpu::accumulate(static_cast<std::int64_t>(from.size()), from.data(), reduced(s).data());
  }
}

template <class T>
void UnitState<T>::take_reduced(const UnitState& other) {
  for (std::size_t s = 0; s < 2; ++s) {
    const std::span<const Sum> from = other.reduced(s);
    std::copy(from.begin(), from.end(), reduced(s).begin());
  }
}

template <class T>
void UnitState<T>::begin_step() {
  for (Part& part : parts_) {
    std::vector<Sum>& sums = cuts_gradients_ ? part.cut : part.gradients;
    std::fill(sums.begin(), sums.end(), Sum(0));
  }
}

template <class T>
double UnitState<T>::sum_of_squares() const {
  double sum = 0;
  for (std::size_t s = 0; s < 2; ++s) {
    if (!flat_.scopes[s].counts) continue;
    for (std::size_t w = 0; w < flat_.scopes[s].weights.size(); ++w) {
      visit_piece(flat_.scopes[s], w,
                  [&](const Run& run, std::int64_t local, std::int64_t, std::int64_t count) {
                    if (run.owned) sum += cpu::Vectors<Sum>::sum_of_squares(count, reduced(s).data() + local);
                  });
    }
  }
  return sum;
}

template <class T>
void UnitState<T>::update(const Settings& settings, double scale, std::int64_t step) {
  const cpu::AdamWSettings adam{settings.learning_rate, settings.beta1, settings.beta2, settings.epsilon,
                                settings.weight_decay};
  for (std::size_t s = 0; s < 2; ++s) {
    Part& part = parts_[s];
    const std::span<const Sum> gradient = reduced(s);
    if (gradient.empty()) continue;
    std::vector<Sum> scaled(gradient.size());
    std::copy(gradient.begin(), gradient.end(), scaled.begin());
    if (scale != 1) cpu::Vectors<Sum>::scale(static_cast<std::int64_t>(scaled.size()), scale, scaled.data());
    cpu::AdamW<T>::update(adam, {flat_.scopes[s].piece, step}, scaled.data(),
                          {part.master.data(), part.first_moment.data(), part.second_moment.data(), own(s)});
  }
}

// The piece of uncut gradients lies in the middle of them.
template <class T>
std::span<typename UnitState<T>::Sum> UnitState<T>::field(std::size_t s, Field which) {
  Part& part = parts_[s];
  const FlatScope& scope = flat_.scopes[s];
  switch (which) {
    case Field::gradient:
      return cuts_gradients_ ? std::span(part.cut)
                             : std::span(part.gradients).subspan(at(scope.first), at(scope.piece));
    case Field::master:
      return part.master;
    case Field::first_moment:
      return part.first_moment;
    default:
      return part.second_moment;
  }
}

template <class T>
std::int64_t UnitState<T>::bytes() const {
  std::int64_t sum = 0;
  for (const Part& part : parts_) {
    sum += bytes_of(part.parameters) + bytes_of(part.own);
    for (const std::vector<Sum>* each :
         {&part.gradients, &part.cut, &part.master, &part.first_moment, &part.second_moment})
      sum += bytes_of(*each);
  }
  return sum;
}

template <class T>
void UnitState<T>::put(Field which, std::size_t weight, std::span<double> whole) const {
  const auto [s, place] = flat_.where[weight];
  if (!flat_.scopes[s].counts) return;
  const std::span<const Sum> from = field(s, which);
  visit_piece(flat_.scopes[s], place,
              [&](const Run& run, std::int64_t local, std::int64_t global, std::int64_t count) {
                if (run.owned) std::copy_n(from.begin() + local, count, whole.begin() + global);
              });
}

template <class T>
void UnitState<T>::take(Field which, std::size_t weight, std::span<const double> whole) {
  const auto [s, place] = flat_.where[weight];
  const std::span<Sum> to = field(s, which);
  visit_piece(flat_.scopes[s], place,
              [&](const Run&, std::int64_t local, std::int64_t global, std::int64_t count) {
                std::transform(whole.begin() + global, whole.begin() + global + count, to.begin() + local,
                               [](double value) { return static_cast<Sum>(value); });
              });
}

template class UnitState<double>;
template class UnitState<float>;
template class UnitState<bf16>;

}  // namespace tw::train
