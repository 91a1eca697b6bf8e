// Runs that can be saved and resumed, and what is compared of them.
#pragma once

#include <filesystem>

#include "tests/mpi/support.hpp"
#include "train/checkpoint.hpp"

namespace tw::train {

// Losses, norms and gradients of each step; under the last "step", master weights and moments at the end.
struct Outcome {
  Trace trace;
  friend bool operator==(const Outcome& a, const Outcome& b) {
    return a.trace.losses == b.trace.losses && a.trace.norms == b.trace.norms &&
           a.trace.names == b.trace.names && a.trace.gradients == b.trace.gradients;
  }
};

template <class T>
class SavedRun {
 public:
  SavedRun(const Case& one, Messages& messages, const Settings& settings = test_settings())
      : program_(input_of(one)),
        view_(program_, messages.self()),
        data_(Data::pattern(settings.seed, program_.input().model.vocab)),
        engine_(view_, messages, settings, data_) {}

  TensorEngine<T>& engine() { return engine_; }

  std::vector<std::vector<double>> states(Field field) {
    std::vector<std::vector<double>> out;
    for (const NamedWeight& weight : named_weights(program_)) out.push_back(engine_.collect(field, weight));
    return out;
  }
  Outcome steps(int count) {
    Outcome out{trace_of(program_, view_, engine_, count)};
    for (const Field field : {Field::master, Field::first_moment, Field::second_moment}) {
      out.trace.losses.push_back(out.trace.losses.back());
      out.trace.gradients.push_back(states(field));
    }
    return out;
  }

 private:
  Program program_;
  View view_;
  Data data_;
  TensorEngine<T> engine_;
};

struct Counts {
  int cases = 0, wrong = 0;
};
// Files that are not whole or of another run, each with the words of its refusal; all ranks together.
Counts refuse_damaged(const cpu::MpiProcess& process, Messages& messages,
                      const std::filesystem::path& folder);

}  // namespace tw::train
