// Loss and every gradient of one rank, against those of layouts given on the command line or of the
// whole list of this number of ranks. mpirun -n RANKS equality [MODEL LAYOUT ...]
#include <cstdio>
#include <exception>
#include <map>

#include "tests/mpi/layouts.hpp"
#include "tests/mpi/support.hpp"
#include "tests/support/counts.hpp"

namespace tw::train {
namespace {

constexpr int kSteps = 3;
constexpr double kLimit = 1e-10;

class Comparison {
 public:
  Comparison(Messages& messages, std::int32_t ranks) : messages_(messages), ranks_(ranks) {}

  void compare(const Case& one) {
    const bool main = messages_.self() == Rank(0), takes_part = messages_.self().value() < one.ranks;
    if (!takes_part) return;
    Trace got = run_case(one, messages_, kSteps);
    if (!main) return;
    const Difference d = difference(reference(one), got);
    ++count_;
    const bool wrong = !(d.loss <= kLimit && d.gradient <= kLimit);
    failures_ += wrong ? 1 : 0;
    if (wrong || verbose) {
      std::printf("%s %s ranks %d: loss %.2e gradient %.2e (%s)\n", std::string(one.model).c_str(),
                  one.layout.c_str(), one.ranks, d.loss, d.gradient, d.where.c_str());
      std::fflush(stdout);
    }
    if (!(worst_.loss >= d.loss)) worst_.loss = d.loss;
    if (!(worst_.gradient >= d.gradient))
      worst_.gradient = d.gradient, worst_.where = one.layout + ", " + d.where;
  }

  int report() const {
    if (messages_.self() != Rank(0)) return 0;
    std::printf(
        "%d layouts on up to %d ranks, %d wrong; worst relative difference: loss %.1e, gradient %.1e (%s)\n",
        count_, ranks_, failures_, worst_.loss, worst_.gradient, worst_.where.c_str());
    return report_counts(count_ - failures_, failures_);
  }

  bool verbose = false;

 private:
  const Trace& reference(const Case& one) {
    const std::int32_t layers = input_of(one).model.layers();
    const std::string key = std::string(one.model) + " " + std::to_string(layers) + " " +
                            std::to_string(one.batch) + " " + std::to_string(one.seq);
    const auto [found, made] = references_.try_emplace(key);
    if (made) {
      ProgramInput input = input_of(one);
      input.layout = Layout{};
      input.job.gpus = 1;
      const Program program(input);
      const View view(program, Rank(0));
      const Settings settings = test_settings();
      const Data data = Data::pattern(settings.seed, program.input().model.vocab);
      TensorEngine<double> engine(view, messages_, settings, data);
      found->second = trace_of(program, view, engine, kSteps);
    }
    return found->second;
  }

  Messages& messages_;
  std::int32_t ranks_;
  int count_ = 0, failures_ = 0;
  Difference worst_;
  std::map<std::string, Trace> references_;
};

std::vector<Case> suite_for(const cpu::MpiProcess& process) {
  const std::int32_t ranks = process.size();
  const std::vector<Case> special = special_cases(ranks);
  Chosen chosen = ranks > 4 ? choose_cases(ranks, 30, 4) : choose_cases(ranks, 400, ranks == 4 ? 120 : 30);
  if (process.rank() == Rank(0))
    std::printf(
        "%zu layouts with %zu of the %zu pairs of option values that %lld of %lld legal layouts have; "
        "%zu special ones\n",
        chosen.cases.size(), chosen.paired, chosen.pairs, static_cast<long long>(chosen.candidates),
        static_cast<long long>(chosen.legal), special.size());
  chosen.cases.insert(chosen.cases.end(), special.begin(), special.end());
  return chosen.cases;
}

int run(int argc, char** argv) {
  const cpu::MpiProcess process(argc, argv);
  try {
    const std::unique_ptr<Messages> messages = cpu::mpi_messages();
    Comparison comparison(*messages, process.size());
    std::vector<Case> cases;
    for (int i = 1; i + 1 < argc; i += 2) cases.push_back({argv[i], argv[i + 1], process.size()});
    comparison.verbose = !cases.empty();
    if (cases.empty()) cases = suite_for(process);
    for (const Case& one : cases) comparison.compare(one);
    process.barrier();
    return comparison.report();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", process.rank().value(), error.what());
    cpu::MpiProcess::abort(1);
  }
}

}  // namespace
}  // namespace tw::train

int main(int argc, char** argv) {
  return tw::train::run(argc, argv);
}
