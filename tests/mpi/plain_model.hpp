// A decoder-only transformer by its formulas, in plain loops over one token and one head at a time, that
// share no code with kernels, Program or trainer: what the loss of a run should be, and its weights after
// a step of AdamW.
#pragma once

#include <vector>

#include "costmodel/model.hpp"
#include "train/data.hpp"
#include "train/settings.hpp"

namespace tw::train {

using Array = std::vector<double>;

struct PlainModel {
  const Model& model;
  const Settings& settings;
  const Data& data;
  std::int64_t batch = 1;
  std::int32_t seq = 1;
  std::int64_t pooled = 1;  // sequences whose load is balanced together

  // weights: in the order of named_weights(). step: from 0.
  double loss(const std::vector<Array>& weights, std::int64_t step) const;
};

// Gradients are scaled to the norm that settings.clip allows (Pascanu et al. 2013), then AdamW (Loshchilov
// and Hutter 2019, algorithm 2, with the decay times the step size).
class PlainAdamW {
 public:
  explicit PlainAdamW(const Settings& settings) : settings_(settings) {}
  void update(std::vector<Array>& weights, const std::vector<Array>& gradients);

 private:
  Settings settings_;
  std::vector<Array> first_, second_;
  int step_ = 0;
};

}  // namespace tw::train
