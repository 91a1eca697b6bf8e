// Loss and every gradient of one rank, against those of layouts given on the command line or of the
// whole list of this number of ranks. mpirun -n RANKS equality [MODEL LAYOUT ...]
#include <cstdio>
#include <exception>
#include <map>
#include <set>

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
    const Trace got = run_case(one, messages_, kSteps);
    if (messages_.self() != Rank(0)) return;
    const Difference d = difference(reference(one), got);
    ++count_;
    const std::string model(one.model);
    ++runs_, distinct_.insert(to_string(input_of(one).layout));
    const bool wrong = !(d.loss <= kLimit && d.gradient <= kLimit) || !got.in_order;
    failures_ += wrong ? 1 : 0;
    if (wrong || verbose) {
      std::printf("%s %s ranks %d: loss %.2e gradient %.2e (%s)%s\n", model.c_str(), one.layout.c_str(),
                  one.ranks, d.loss, d.gradient, d.where.c_str(), got.in_order ? "" : " out of order");
      std::fflush(stdout);
    }
    if (!(worst_.loss >= d.loss)) worst_.loss = d.loss;
    if (!(worst_.gradient >= d.gradient))
      worst_.gradient = d.gradient, worst_.where = model + " " + one.layout + ", " + d.where;
  }

  // Micro-batches of one sequence have its load balance; larger ones another: else these runs say nothing.
  void compare_pooled() {
    if (messages_.self() != Rank(0)) return;
    const auto alone = [&](const char* layout, bool pooled) {
      return run_case({.model = "moe", .layout = layout, .pooled = pooled}, messages_, 1);
    };
    const Difference same = difference(alone("mb=1", false), alone("mb=1", true)),
                     other = difference(alone("mb=2", false), alone("mb=2", true));
    const bool good = same.loss == 0 && same.gradient == 0 && other.loss > 1e-6 && other.gradient > 1e-6;
    std::printf("balance of micro-batches of two sequences instead of each: loss %.1e gradient %.1e apart\n",
                other.loss, other.gradient);
    ++count_, failures_ += good ? 0 : 1;
  }

  int report() const {
    if (messages_.self() != Rank(0)) return 0;
    std::printf(
        "%d models and layouts, %zu distinct layouts, on %d ranks, in the Program's order, %d wrong; worst "
        "relative difference: loss %.1e, gradient %.1e (%s)\n",
        runs_, distinct_.size(), ranks_, failures_, worst_.loss, worst_.gradient, worst_.where.c_str());
    return report_counts(count_ - failures_, failures_);
  }

  bool verbose = false;

 private:
  const Trace& reference(const Case& one) {
    const ProgramInput input = input_of(one);
    Case alone = one;
    alone.ranks = 1, alone.layers = input.model.layers();
    alone.layout = one.pooled ? "mb=" + std::to_string(input.layout.mb) : "dp=1";
    const std::string key = std::string(one.model) + " " + std::to_string(alone.layers) + " " +
                            std::to_string(one.batch) + (one.pooled ? " pooled " + alone.layout : "");
    const auto [found, made] = references_.try_emplace(key);
    if (made) found->second = run_case(alone, messages_, kSteps);
    return found->second;
  }

  Messages& messages_;
  std::int32_t ranks_;
  int count_ = 0, runs_ = 0, failures_ = 0;
  Difference worst_;
  std::set<std::string> distinct_;
  std::map<std::string, Trace> references_;
};

std::vector<Case> suite_for(const cpu::MpiProcess& process) {
  const std::int32_t ranks = process.size();
  Chosen chosen = ranks > 4 ? choose_cases(ranks, ranks > 8 ? 40 : 400, 4)
                            : choose_cases(ranks, 400, ranks == 4 ? 120 : 30);
  if (process.rank() == Rank(0)) {
    std::printf("%zu layouts with %zu of the %zu pairs of option values that %lld legal layouts have",
                chosen.cases.size(), chosen.paired, chosen.pairs, static_cast<long long>(chosen.legal));
    ranks > 4 ? std::printf(", among them the %zu that no layout of fewer ranks has\n", chosen.fresh)
              : std::printf("\n");
  }
  for (const std::vector<Case>& more : {special_cases(ranks), pooled_cases(ranks)})
    chosen.cases.insert(chosen.cases.end(), more.begin(), more.end());
  return chosen.cases;
}

int run(int argc, char** argv) {
  const cpu::MpiProcess process(argc, argv);
  try {
    const std::unique_ptr<Messages> messages = cpu::mpi_messages();
    Comparison comparison(*messages, process.size());
    std::vector<Case> cases;
    for (int i = 1; i + 1 < argc; i += 2)
      cases.push_back({argv[i], argv[i + 1], process.size(), process.size() > 4 ? 16 : 8});
    comparison.verbose = !cases.empty();
    if (cases.empty()) cases = suite_for(process);
    for (const Case& one : cases) comparison.compare(one);
    if (process.size() == 4 && !comparison.verbose) comparison.compare_pooled();
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
