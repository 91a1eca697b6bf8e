// Gradients against central differences of the loss, one direction for each weight, of one rank and of
// layouts that between them do every operator and its backward. The error of a difference is of the order
// h^2 and of the rounding over h: 1e-5 gives about 1e-9. A token that chooses another expert within the step
// makes a jump, not a slope; none does with this seed.
#include <cmath>
#include <cstdio>
#include <exception>

#include "tests/mpi/passing.hpp"
#include "tests/mpi/support.hpp"
#include "tests/support/counts.hpp"

namespace tw::train {
namespace {

class Slope {
 public:
  Slope(const Case& one, Messages& messages)
      : program_(input_of(one)),
        view_(program_, messages.self()),
        data_(Data::pattern(1, program_.input().model.vocab)),
        engine_(view_, messages, settings_of(one), data_),
        watched_(engine_, view_),
        trainer_(view_, watched_, recorder_) {}

  // The largest relative error of a weight's slope.
  double worst() {
    const std::vector<NamedWeight> weights = named_weights(program_);
    std::vector<std::vector<double>> start, gradients;
    for (const NamedWeight& weight : weights) start.push_back(engine_.collect(Field::master, weight));
    loss();
    for (const NamedWeight& weight : weights) gradients.push_back(engine_.collect(Field::gradient, weight));
    double worst = 0;
    for (std::size_t w = 0; w < weights.size(); ++w) {
      const auto at = [&](double h) {
        for (std::size_t i = 0; i < weights.size(); ++i) {
          std::vector<double> values = start[i];
          for (std::size_t j = 0; i == w && j < values.size(); ++j) values[j] += h * direction(j);
          engine_.restore(Field::master, weights[i], values);
        }
        engine_.refresh();
        return loss();
      };
      constexpr double kStep = 1e-5;
      const double measured = (at(kStep) - at(-kStep)) / (2 * kStep);
      double slope = 0, size = 0;
      for (std::size_t j = 0; j < gradients[w].size(); ++j) {
        slope += gradients[w][j] * direction(j);
        size += std::abs(gradients[w][j]);
      }
      worst = std::max(worst, std::abs(slope - measured) / size);
    }
    return worst;
  }
  const std::set<std::pair<Operator, bool>>& done() const { return watched_.done(); }

 private:
  static double direction(std::size_t j) { return std::cos(static_cast<double>(j * j % 97)); }
  double loss() {
    engine_.set_steps_done(0);
    trainer_.step();
    return engine_.losses().total();
  }

  Program program_;
  View view_;
  Data data_;
  TensorEngine<double> engine_;
  Watched<TensorEngine<double>> watched_;
  Recorder recorder_;
  Trainer<Watched<TensorEngine<double>>> trainer_;
};

const Case kCases[] = {{"dense", "dp=1", 1},
                       {"tied", "dp=1", 1},
                       {"moe", "dp=1", 1},
                       {"shared", "dp=1", 1},
                       {"tied_moe", "dp=1", 1},
                       {.model = "moe", .layout = "mb=2", .ranks = 1, .pooled = true},
                       {"dense", "tp=4,sp=0", 4},
                       {"tied", "pp=2,tp=2,sp=1,schedule=zb-h1", 4},
                       {"shared", "cp=4,cp_kind=ring,ep=2", 4},
                       {"shared", "cp=2,cp_kind=a2a,dp=2,ep=4,zero=3", 4},
                       {"moe", "tp=2,sp=1,cp=2,ep=2,etp=2,recompute=full", 4},
                       {.model = "moe", .layout = "dp=2,cp=2,ep=4,mb=2", .ranks = 4, .pooled = true}};

// Operators that no case did, or whose backward none did; `wait` computes nothing. An addition, merged
// scores and the balance of a choice have no backward of their own; two are of the backward alone.
std::string missing(const std::set<std::pair<Operator, bool>>& done) {
  const std::set<Operator> forward_alone = {Operator::add, Operator::merge_scores, Operator::balance},
                           backward_alone = {Operator::sum, Operator::ring_return};
  std::string out;
  for (int i = 0; i < static_cast<int>(Operator::wait); ++i) {
    const auto what = static_cast<Operator>(i);
    const bool forward = backward_alone.contains(what) || done.contains({what, false}),
               backward = forward_alone.contains(what) || done.contains({what, true});
    if (!forward || !backward) out += " " + std::string(name_of(what));
  }
  return out;
}

}  // namespace
}  // namespace tw::train

int main(int argc, char** argv) {
  using namespace tw::train;
  const tw::cpu::MpiProcess process(argc, argv);
  const std::unique_ptr<tw::Messages> messages = tw::cpu::mpi_messages();
  const bool speaks = process.rank() == tw::Rank(0);
  int wrong = 0, cases = 0;
  std::set<std::pair<tw::Operator, bool>> done;
  try {
    for (const Case& one : kCases) {
      if (process.rank().value() >= one.ranks) continue;
      Slope slope({one.model, one.layout, one.ranks, 4, one.seq, one.layers, one.pooled}, *messages);
      const double worst = slope.worst();
      done.insert(slope.done().begin(), slope.done().end());
      wrong += worst < 1e-7 ? 0 : 1, ++cases;
      if (speaks)
        std::printf("%s %s: worst slope off by %.1e\n", std::string(one.model).c_str(), one.layout.c_str(),
                    worst);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", process.rank().value(), error.what());
    tw::cpu::MpiProcess::abort(1);
  }
  if (!speaks) return 0;
  const std::string left = missing(done);
  std::printf("%d operators, not done:%s\n", static_cast<int>(tw::Operator::wait),
              left.empty() ? " none" : left.c_str());
  ++cases, wrong += left.empty() ? 0 : 1;
  return tw::report_counts(cases - wrong, wrong);
}
