// What a rank keeps of a unit between operations: parameters, gradients, master weights and moments, and
// the traffic of these that a Program asks for. T: type of stored elements; Sum: of everything added up.
#pragma once

#include <span>
#include <vector>

#include "kernels/backend/messages.hpp"
#include "kernels/ops.hpp"
#include "train/flat.hpp"
#include "train/settings.hpp"

namespace tw::train {

enum class Field : std::uint8_t { gradient, master, first_moment, second_moment };

template <class T>
class UnitState {
 public:
  using Sum = cpu::Acc<T>;
  UnitState(const View& view, const Unit& unit, const Settings& settings);

  const FlatUnit& flat() const { return flat_; }
  // Whole on this rank: null while released.
  const T* weight(std::size_t index) const;
  Sum* gradient(std::size_t index);

  void gather(Messages& messages);
  void release();
  void reduce(Messages& messages);
  void sum_shared(Messages& messages);
  void begin_step();
  void update(const Settings& settings, double scale, std::int64_t step);

  // Of the reduced gradients that this rank counts.
  double sum_of_squares() const;
  void add_reduced(const UnitState& other);
  void take_reduced(const UnitState& other);
  // Sums reduced gradients with the units of other ranks that hold the same weights.
  void sum_copies(Messages& messages, Group group);

  // Elements that this rank counts, into the whole weight; and back, all that it holds.
  void put(Field field, std::size_t weight, std::span<double> whole) const;
  void take(Field field, std::size_t weight, std::span<const double> whole);
  void refresh();  // parameters from the master weights
  std::int64_t bytes() const;

 private:
  struct Part {
    std::vector<T> parameters;  // padded; empty while released
    std::vector<T> own;         // the piece, where parameters are released
    // Whole, padded, from the first to the reduction, which leaves the piece; kept where it is not cut off.
    std::vector<Sum> gradients;
    std::vector<Sum> cut;  // the piece, where gradients are
    std::vector<Sum> master, first_moment, second_moment;
  };
  std::span<Sum> field(std::size_t scope, Field which);
  std::span<const Sum> field(std::size_t scope, Field which) const {
    return const_cast<UnitState*>(this)->field(scope, which);
  }
  std::span<Sum> reduced(std::size_t scope) { return field(scope, Field::gradient); }
  std::span<const Sum> reduced(std::size_t scope) const { return field(scope, Field::gradient); }
  static void sum_together(Messages& messages, Group group, const std::vector<std::span<Sum>>& parts);
  void initialise(const Settings& settings);
  T* own(std::size_t scope);

  FlatUnit flat_;
  bool cuts_parameters_, cuts_gradients_;
  std::array<Part, 2> parts_;
};

}  // namespace tw::train
