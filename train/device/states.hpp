// What a rank keeps of a unit on its GPU: bf16 parameters, fp32 gradients, master weights and moments, and
// the traffic of these that a Program asks for, on the state lane. The arrays are those of train/states.hpp.
#pragma once

#include <span>
#include <vector>

#include "kernels/training_ops.hpp"
#include "train/device/context.hpp"
#include "train/flat.hpp"
#include "train/settings.hpp"
#include "train/states.hpp"

namespace tw::train {

class DeviceUnit;

// Of a weight: the first product of a step, where gradients are cut of a micro-batch, may write over what is
// there; all else is added to it.
class GradientSum {
 public:
  GradientSum(std::nullptr_t) {}
  GradientSum(DeviceUnit& unit, std::size_t index) : unit_(&unit), index_(index) {}
  float* added() const;
  struct Next {
    float* sum;
    gpu::Into into;
  };
  Next next() const;

 private:
  DeviceUnit* unit_ = nullptr;
  std::size_t index_ = 0;
};

class DeviceUnit {
 public:
  DeviceUnit(const View& view, const Unit& unit, const Settings& settings, Context& gpu);

  const FlatUnit& flat() const { return flat_; }
  // Whole on this rank, for compute.
  const void* weight(std::size_t index);
  GradientSum gradient(std::size_t index) { return {*this, index}; }

  void gather();
  void release();
  void reduce();
  void sum_shared();
  void begin_step();
  // factor: on the GPU, times the gradient.
  void update(const Settings& settings, const float* factor, std::int64_t step);

  void add_squares(double* sum);  // of the reduced gradients that this rank counts
  void add_reduced(DeviceUnit& other);
  void take_reduced(DeviceUnit& other);
  void sum_copies(Group group);

  // As UnitState has them; the host waits.
  void put(Field field, std::size_t weight, std::span<double> whole);
  void take(Field field, std::size_t weight, std::span<const double> whole);
  void refresh();
  std::int64_t bytes() const;

 private:
  friend GradientSum;
  struct Part {
    Block parameters;         // whole, padded; none while released
    Block own;                // the piece, where parameters are released
    Block gradients;          // whole, padded; of cut ones from the first to the reduction
    Block cut;                // the piece, where gradients are
    std::vector<bool> begun;  // weights with gradients in `gradients`: in all others' places is anything
    bool summed = false;      // so has `cut`
    Block master, first_moment, second_moment;
    Ticket gathered, reduced;
    Block owned_runs, shared_runs;  // of sum_of_squares and sum_shared
    std::int64_t owned = 0, shared = 0, packed = 0;
  };
  const FlatScope& scope(std::size_t s) const { return flat_.scopes[s]; }
  void refuse_uneven(std::size_t s) const;
  void initialise(std::size_t s, const Settings& settings);
  void find_runs(std::size_t s);
  char* own(std::size_t s);
  void take_gradients(std::size_t s);
  bool begin(std::size_t index);  // whether the weight's gradient has begun before
  float* sums(std::size_t index);
  void complete(std::size_t s);
  float* field(std::size_t s, Field which);
  struct Stretch {
    std::int64_t begin, end;  // of the piece
  };
  Stretch stretch(std::size_t s, std::size_t place) const;
  std::vector<float> on_host(std::size_t s, Field which, Stretch part);
  float* reduced(std::size_t s);  // behind its reduction, for compute

  Context& gpu_;
  FlatUnit flat_;
  bool cuts_parameters_, cuts_gradients_;
  std::array<Part, 2> parts_;
};

}  // namespace tw::train
