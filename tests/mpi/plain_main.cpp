// One rank in double precision, which all layouts are held against, against plain formulas: the loss of
// each step, and the weights after it. Gradients come from the run (gradients_main.cpp checks them).
#include <cmath>
#include <cstdio>
#include <set>

#include "tests/mpi/plain_model.hpp"
#include "tests/mpi/support.hpp"
#include "tests/support/counts.hpp"

namespace tw::train {
namespace {

constexpr int kSteps = 4;
constexpr double kLimit = 1e-12;  // some 10^4 roundings of 10^-16

struct Apart {
  double loss = 0, weight = 0;  // relative; to the size of first weights
  double norm = 0;              // largest of the run, above what is clipped
};

Apart compare(const Case& one, std::int64_t pooled, Messages& messages) {
  const Program program(input_of(one));
  const View view(program, Rank(0));
  const Settings settings = settings_of(one);
  const Model& model = program.input().model;
  const Data data = Data::pattern(settings.seed, model.vocab);
  TensorEngine<double> engine(view, messages, settings, data);
  Recorder recorder;
  Trainer<TensorEngine<double>> trainer(view, engine, recorder);
  const PlainModel plain{model, settings, data, one.batch, one.seq, pooled};
  PlainAdamW adam(settings);
  const auto all = [&](Field field) {
    std::vector<Array> out;
    for (const NamedWeight& weight : named_weights(program)) out.push_back(engine.collect(field, weight));
    return out;
  };
  std::vector<Array> weights = all(Field::master);
  Apart out;
  for (int step = 0; step < kSteps; ++step) {
    const double expected = plain.loss(weights, step);
    trainer.step();
    out.loss = std::max(out.loss, std::abs(engine.losses().total() - expected) / expected);
    out.norm = std::max(out.norm, engine.gradient_norm());
    adam.update(weights, all(Field::gradient));
    const std::vector<Array> got = all(Field::master);
    for (std::size_t w = 0; w < got.size(); ++w) {
      for (std::size_t i = 0; i < got[w].size(); ++i)
        out.weight = std::max(out.weight, std::abs(got[w][i] - weights[w][i]) / settings.initial_deviation);
    }
  }
  return out;
}

bool names_differ(const Case& one) {
  const Program program(input_of(one));
  std::set<std::string> names;
  for (const NamedWeight& weight : named_weights(program)) {
    if (!names.insert(weight.name).second)
      return std::printf("WRONG: two weights are %s\n", weight.name.c_str()), false;
  }
  return true;
}

}  // namespace
}  // namespace tw::train

int main(int argc, char** argv) {
  using namespace tw::train;
  const tw::cpu::MpiProcess process(argc, argv);
  const std::unique_ptr<tw::Messages> messages = tw::cpu::mpi_messages();
  int cases = 0, wrong = 0;
  for (const char* model : {"dense", "tied", "moe", "shared", "tied_moe", "padded"}) {
    for (const std::int64_t pooled : {1, 4}) {
      const Case one{
          .model = model, .layout = "mb=" + std::to_string(pooled), .batch = 8, .pooled = pooled > 1};
      const Apart apart = compare(one, pooled, *messages);
      const bool good = apart.loss < kLimit && apart.weight < kLimit && apart.norm > test_settings().clip &&
                        names_differ(one);
      ++cases, wrong += good ? 0 : 1;
      std::printf("%s %s, %ld sequences a micro-batch: loss off by %.1e, weights by %.1e (norm up to %.1f)\n",
                  good ? "     " : "WRONG", model, pooled, apart.loss, apart.weight, apart.norm);
    }
  }
  return tw::report_counts(cases - wrong, wrong);
}
