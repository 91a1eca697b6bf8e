// Loss and every gradient of float and bf16 in many layouts, against one rank in double precision. The
// measure is |got - exact| / |exact| in the 2-norm, for each weight and for the loss; the tolerance comes
// from double precision alone, for this layout and weight:
//
//   tolerance = kSigmas * sqrt(d^2 + a^2)
//   d  root mean square distance of kSamples runs in double whose results are changed as rounding would
//      (tests/mpi/rounding.hpp), brought back to the size of the format's roundings
//   a  what rounds where no operation writes: a gradient is a sum over all N tokens of a step in the
//      accumulation type (half a place u), over rows, micro-batches and ranks; partial sums that grow like
//      a random walk err by u sqrt(N / 2)
//
// Weights start as rounded copies of the exact ones: that too is in d. d is taken over the steps together,
// for the loss, which is one number and not the norm of many, over all layouts of a model; so it is known
// to about a fifth. What is compared is then within 2 d in nearly all cases; kSigmas 4 leaves none. Where
// one operator is less exact than it should be, no weight need be that far off, but all are farther than
// they should: the root mean square over a run of what is compared / (tolerance / kSigmas) is about 1, and
// at kTogether, the root of 2, something errs as much as all roundings together.
// Weights do not move between the steps (no step size), each of which reads other tokens: an update by
// AdamW divides by the gradient's size and would turn a rounding into a whole step.
// At the end, faults of tests/mpi/faults.hpp in the low precisions: they must lie above the tolerance.
#include <cstdio>
#include <exception>

#include "tests/mpi/faults.hpp"
#include "tests/mpi/layouts.hpp"
#include "tests/mpi/rounding.hpp"
#include "tests/support/counts.hpp"

namespace tw::train {
namespace {

constexpr int kSteps = 2, kSamples = 3;
constexpr double kSigmas = 4, kTogether = 1.414;

Settings still() {
  Settings settings = test_settings();
  settings.learning_rate = 0;
  return settings;
}

double norm_of(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares);
}
double distance(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> apart(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) apart[i] = a[i] - b[i];
  return norm_of(apart) / norm_of(a);
}

// Relative distances of each step: of the loss, then of each weight's gradient.
using Distances = std::vector<double>;
Distances distances(const Trace& exact, const Trace& got) {
  Distances out;
  for (std::size_t step = 0; step < exact.losses.size(); ++step) {
    out.push_back(std::abs(exact.losses[step] - got.losses[step]) / exact.losses[step]);
    for (std::size_t w = 0; w < exact.names.size(); ++w)
      out.push_back(distance(exact.gradients[step][w], got.gradients[step][w]));
  }
  return out;
}
std::string name_at(const Trace& exact, std::size_t i) {
  const std::size_t each = exact.names.size() + 1;
  return i % each == 0 ? "loss" : exact.names[i % each - 1];
}

struct Exact {
  Trace trace;
  Choices choices;
};

// A layout on this rank, and its runs.
class Setup {
 public:
  Setup(const Case& one, Messages& messages)
      : program_(input_of(one)),
        view_(program_, one.ranks == 1 ? Rank(0) : messages.self()),  // alone: each rank by itself
        data_(Data::pattern(still().seed, program_.input().model.vocab)),
        messages_(messages) {}

  Trace recorded(Choices& choices) {
    TensorEngine<double> engine(view_, messages_, still(), data_);
    Forced forced(engine, view_, choices, true);
    return trace_of(program_, view_, forced, kSteps);
  }
  template <class T>
  Trace run(Choices& choices, Fault fault = Fault::none) {
    FaultyMessages faulty(messages_, fault);
    FaultyEngine<T> engine(view_, faulty, fault, still(), data_);
    Forced forced(engine, view_, choices, false);
    return trace_of(program_, view_, forced, kSteps);
  }
  Trace nudged(Choices& choices, const Roundoff& roundoff, std::uint64_t sample) {
    TensorEngine<double> engine(view_, messages_, still(), data_);
    for (const NamedWeight& weight : named_weights(program_)) {
      std::vector<double> values = engine.collect(Field::master, weight);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const cpu::WeightKey key{1000 + sample, weight.id};
        const double place = values[i] == 0 ? 0 : std::exp2(std::floor(std::log2(std::abs(values[i]))));
        values[i] +=
            roundoff.enlarged * roundoff.stored * place * cpu::uniform_value(key, i) / std::sqrt(3.0);
      }
      engine.restore(Field::master, weight, values);
    }
    engine.refresh();
    Forced forced(engine, view_, choices, false);
    const auto rank = static_cast<std::uint64_t>(messages_.self().value());
    Nudged nudged(forced, view_, roundoff, 64 * sample + rank + 1);
    return trace_of(program_, view_, nudged, kSteps);
  }
  double tokens() const { return static_cast<double>(view_.global_batch() * view_.seq()); }

 private:
  Program program_;
  View view_;
  Data data_;
  Messages& messages_;
};

struct Tolerances {
  Distances of;
  double probability = 0;  // of an expert
};

Tolerances tolerances(Setup& setup, const Exact& exact, const Roundoff& roundoff) {
  Tolerances out;
  Choices choices{exact.choices.tokens};
  for (int sample = 0; sample < kSamples; ++sample) {
    const Distances apart =
        distances(exact.trace, setup.nudged(choices, roundoff, static_cast<std::uint64_t>(sample)));
    out.of.resize(apart.size(), 0);
    const std::size_t each = apart.size() / kSteps;
    for (std::size_t i = 0; i < apart.size(); ++i) {
      const double one = apart[i] / roundoff.enlarged;
      for (std::size_t step = 0; step < kSteps; ++step)
        out.of[step * each + i % each] += one * one / (kSamples * kSteps);
    }
  }
  const double sums = roundoff.summed * std::sqrt(setup.tokens() / 2);
  const std::size_t step = out.of.size() / kSteps;
  for (std::size_t i = 0; i < out.of.size(); ++i)
    out.of[i] =
        kSigmas * std::sqrt(out.of[i] + (i % step == 0 ? 0 : sums * sums));  // losses add up in double
  out.probability = choices.farthest / roundoff.enlarged;
  return out;
}

struct Worst {
  double ratio = 0, apart = 0, tolerance = 0, together = 0;
  std::string where;
  bool good() const { return ratio <= 1 && together <= kTogether; }
};
Worst worst_of(const Exact& exact, const Distances& apart, const Tolerances& allowed) {
  Worst out;
  double squares = 0;
  for (std::size_t i = 0; i < apart.size(); ++i) {
    const double ratio = apart[i] / allowed.of[i];
    squares += ratio * ratio;
    if (!(out.ratio >= ratio)) out = {ratio, apart[i], allowed.of[i], 0, name_at(exact.trace, i)};
  }
  out.together = kSigmas * std::sqrt(squares / static_cast<double>(apart.size()));
  return out;
}

class Suite {
 public:
  explicit Suite(Messages& messages) : messages_(messages), speaks_(messages.self() == Rank(0)) {}

  template <class T>
  void compare(const char* type, const Case& one) {
    const Exact& exact = exact_of(one);
    Setup setup(one, messages_);
    Run run{type, one.layout, &exact, {}, allowed_in<T>(type, one, setup), {exact.choices.tokens}};
    run.apart = distances(exact.trace, setup.template run<T>(run.choices));
    runs_.push_back(std::move(run));
  }
  // Once all layouts have run.
  void judge() {
    for (Run& run : runs_) {
      double squares = 0, count = 0;
      for (const Run& other : runs_) {
        if (other.type == run.type && other.exact == run.exact)
          squares += other.allowed.of[0] * other.allowed.of[0], ++count;
      }
      Tolerances allowed = run.allowed;
      for (std::size_t step = 0; step < kSteps; ++step)
        allowed.of[step * allowed.of.size() / kSteps] = std::sqrt(squares / count);
      const Worst worst = worst_of(*run.exact, run.apart, allowed);
      // Another choice than the exact one only where two probabilities are as close as roundings go.
      const bool good = worst.good() && run.choices.widest_margin <= 2 * kSigmas * allowed.probability;
      others_ += run.choices.other;
      ++cases_, wrong_ += good ? 0 : 1;
      if (!good && speaks_)
        std::printf(
            "WRONG %s %s: %s off by %.2e, tolerance %.2e; together %.2f; closest probabilities mistaken "
            "%.1e, rounding %.1e\n",
            run.type.c_str(), run.layout.c_str(), worst.where.c_str(), worst.apart, worst.tolerance,
            worst.together, run.choices.widest_margin, allowed.probability);
      double& most = together_[run.type];
      most = std::max(most, worst.together);
      keep(run, allowed);
    }
  }

  template <class T>
  void find(const char* type, const FaultCase& each) {
    const Exact& exact = exact_of(each.one);
    Setup setup(each.one, messages_);
    const Tolerances& allowed = allowed_in<T>(type, each.one, setup);
    Choices choices{exact.choices.tokens};
    const Worst worst =
        worst_of(exact, distances(exact.trace, setup.template run<T>(choices, each.fault)), allowed);
    if (speaks_)
      std::printf("%s %s %-46s %.1e, %.1f tolerances (%s), together %.1f\n",
                  worst.good() ? "MISSED" : "found", type, std::string(each.name).c_str(), worst.apart,
                  worst.ratio, worst.where.c_str(), worst.together);
    ++cases_, wrong_ += worst.good() ? 1 : 0;
  }

  void report() const {
    for (const auto& [key, worst] : kinds_)
      std::printf("%-5s %-28s largest tolerance %.1e; worst %.1e, %.2f of its tolerance\n", key.first.c_str(),
                  key.second.c_str(), worst.tolerance, worst.apart, worst.ratio);
    for (const auto& [type, most] : together_)
      std::printf("%-5s all weights of a run together: at most %.2f of what roundings make\n", type.c_str(),
                  most);
    std::printf("%d comparisons of layouts and finds of faults, %d wrong; %lld choices of experts differed\n",
                cases_, wrong_, static_cast<long long>(others_));
  }
  int wrong() const { return wrong_; }
  int cases() const { return cases_; }

 private:
  struct Run {
    std::string type, layout;
    const Exact* exact;
    Distances apart;
    Tolerances allowed;
    Choices choices;
  };
  const Exact& exact_of(const Case& one) {
    const std::int32_t layers = input_of(one).model.layers();
    const auto [found, made] = exact_.try_emplace(std::string(one.model) + " " + std::to_string(layers));
    if (made) {
      Setup alone({one.model, "dp=1", 1, one.batch, one.seq, layers}, messages_);
      found->second.trace = alone.recorded(found->second.choices);
    }
    return found->second;
  }
  template <class T>
  const Tolerances& allowed_in(const char* type, const Case& one, Setup& setup) {
    const auto [found, made] = allowed_.try_emplace(type + std::string(one.model) + " " + one.layout);
    if (made) found->second = tolerances(setup, exact_of(one), roundoff_of<T>());
    return found->second;
  }
  // By kind of tensor: the name without its layer.
  void keep(const Run& run, const Tolerances& allowed) {
    for (std::size_t i = 0; i < run.apart.size(); ++i) {
      const std::string name = name_at(run.exact->trace, i);
      Worst& worst = kinds_[{run.type, name.substr(name.rfind(' ') + 1)}];
      worst.tolerance = std::max(worst.tolerance, allowed.of[i]);
      worst.apart = std::max(worst.apart, run.apart[i]);
      worst.ratio = std::max(worst.ratio, run.apart[i] / allowed.of[i]);
    }
  }

  Messages& messages_;
  bool speaks_;
  int cases_ = 0, wrong_ = 0;
  std::int64_t others_ = 0;
  std::map<std::string, Exact> exact_;
  std::map<std::string, Tolerances> allowed_;
  std::vector<Run> runs_;
  std::map<std::pair<std::string, std::string>, Worst> kinds_;
  std::map<std::string, double> together_;
};

// Updates do nothing here, so faults of updates and clipping show nothing. Faults below what bf16 rounds
// away are for float to find.
bool shows(Fault fault) {
  return fault != Fault::stale_gather && fault != Fault::skipped_update && fault != Fault::local_norm;
}
bool shows_in_bf16(Fault fault) {
  return shows(fault) && fault != Fault::wrong_scale && fault != Fault::local_balance;
}

int run(const cpu::MpiProcess& process) {
  const std::unique_ptr<Messages> messages = cpu::mpi_messages();
  Suite suite(*messages);
  for (const Case& one : choose_cases(process.size(), 22, 2).cases) {
    suite.compare<float>("float", one);
    suite.compare<bf16>("bf16", one);
  }
  suite.judge();
  for (const FaultCase& each : fault_cases()) {
    if (shows(each.fault)) suite.find<float>("float", each);
    if (shows_in_bf16(each.fault)) suite.find<bf16>("bf16", each);
  }
  process.barrier();
  if (process.rank() != Rank(0)) return 0;
  suite.report();
  return report_counts(suite.cases() - suite.wrong(), suite.wrong());
}

}  // namespace
}  // namespace tw::train

int main(int argc, char** argv) {
  return tw::train::on_all_ranks(argc, argv, tw::train::run);
}
