// The gradients of one rank against central differences of its loss, one direction for each weight. The
// error of a difference is of the order h^2 and of the rounding over h: 1e-5 gives about 1e-9.
#include <cmath>
#include <cstdio>

#include "tests/mpi/support.hpp"
#include "tests/support/counts.hpp"

namespace tw::train {
namespace {

class Slope {
 public:
  Slope(const Case& one, Messages& messages)
      : program_(input_of(one)),
        view_(program_, Rank(0)),
        data_(Data::pattern(1, program_.input().model.vocab)),
        engine_(view_, messages, test_settings(), data_),
        trainer_(view_, engine_, recorder_) {}

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
  Recorder recorder_;
  Trainer<TensorEngine<double>> trainer_;
};

}  // namespace
}  // namespace tw::train

int main(int argc, char** argv) {
  using namespace tw::train;
  const tw::cpu::MpiProcess process(argc, argv);
  const std::unique_ptr<tw::Messages> messages = tw::cpu::mpi_messages();
  int wrong = 0, cases = 0;
  for (const char* model : {"dense", "tied", "moe", "shared", "tied_moe"}) {
    const double worst = Slope({model, "dp=1", 1, 2}, *messages).worst();
    wrong += worst < 1e-7 ? 0 : 1, ++cases;
    std::printf("%s: worst slope off by %.1e\n", model, worst);
  }
  return tw::report_counts(cases - wrong, wrong);
}
