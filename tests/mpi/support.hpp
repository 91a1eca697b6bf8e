// What the tests of the trainer share: small models, and a run of one layout with what is compared.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend/cpu/mpi.hpp"
#include "train/engine.hpp"
#include "train/trainer.hpp"

namespace tw::train {

// The exit code of `run`; where it throws, the rank says why and all ranks end.
int on_all_ranks(int argc, char** argv, int (*run)(const cpu::MpiProcess&));

struct Case {
  std::string_view model;  // of small_model
  std::string layout;
  std::int32_t ranks = 1;
  std::int64_t batch = 8;
  std::int32_t seq = 16;
  std::int32_t layers = 0;  // 0: 8 where chunks or stages are many, else 5
  bool pooled = false;      // the load balance of micro-batches
};

// dense, tied, moe, tied_moe, shared (experts beside a dense first layer, a shared expert, norms of heads);
// padded, tied_padded: a vocabulary that one rank of a cut holds alone.
Model small_model(std::string_view name, std::int32_t layers);
ProgramInput input_of(const Case& one);
Settings test_settings();
Settings settings_of(const Case& one);

// Loss of each step and the gradients of each step, in the order of named_weights().
struct Trace {
  std::vector<double> losses, norms;
  std::vector<std::string> names;
  std::vector<std::vector<std::vector<double>>> gradients;  // [step][weight]
  bool in_order = true;                                     // all steps of the Program, on every rank
};

template <class E>
Trace trace_of(const Program& program, const View& view, E& engine, int steps) {
  Trace out;
  Recorder recorder;
  Trainer<E> trainer(view, engine, recorder);
  const std::vector<NamedWeight> weights = named_weights(program);
  for (const NamedWeight& weight : weights) out.names.push_back(weight.name);
  for (int i = 0; i < steps; ++i) {
    trainer.step();
    out.losses.push_back(engine.losses().total()), out.norms.push_back(engine.gradient_norm());
    out.gradients.emplace_back();
    for (const NamedWeight& weight : weights)
      out.gradients.back().push_back(engine.collect(Field::gradient, weight));
  }
  return out;
}

Trace run_case(const Case& one, Messages& messages, int steps);

struct Difference {
  double loss = 0;      // relative
  double gradient = 0;  // largest difference over largest element; of the norm of all relative
  std::string where;
};
Difference difference(const Trace& expected, const Trace& got);

}  // namespace tw::train
