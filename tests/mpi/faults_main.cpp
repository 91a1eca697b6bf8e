// Each injected fault makes the comparison with one rank fail, and none does not; what was executed is
// what the Program says, in its order. Runs on four ranks.
#include <cstdio>
#include <exception>

#include "tests/mpi/faults.hpp"
#include "tests/support/counts.hpp"

namespace tw::train {
namespace {

constexpr int kSteps = 2;
constexpr double kLimit = 1e-10;

struct Run {
  Trace trace;
  bool in_order = true;
};

Run run_with(Fault fault, const Case& one, Messages& messages) {
  const Program program(input_of(one));
  const View view(program, messages.self());
  const Data data = Data::pattern(test_settings().seed, program.input().model.vocab);
  FaultyMessages faulty(messages, fault);
  FaultyEngine<double> engine(view, faulty, fault, test_settings(), data);
  Run out{trace_of(program, view, engine, kSteps)};
  std::vector<std::string> expected;
  for (const Step& step : view.steps()) expected.push_back(to_string(step, view.units()));
  out.in_order = engine.done == expected;
  double wrong = out.in_order ? 0 : 1;
  messages.all_reduce(view.world(), &wrong, 1);
  out.in_order = wrong == 0;
  return out;
}

bool apart(const Difference& d) {
  return !(d.loss <= kLimit && d.gradient <= kLimit);
}

int run(const cpu::MpiProcess& process) {
  const std::unique_ptr<Messages> messages = cpu::mpi_messages();
  int wrong = 0;
  for (const FaultCase& each : fault_cases()) {
    const Run sound = run_with(Fault::none, each.one, *messages);
    const Run faulty = run_with(each.fault, each.one, *messages);
    if (process.rank() != Rank(0)) continue;
    const Case alone{each.one.model, "dp=1", 1, each.one.batch, each.one.seq};
    const Trace one = run_case(alone, *messages, kSteps);
    const Difference without = difference(one, sound.trace), with = difference(one, faulty.trace);
    const bool good = !apart(without) && apart(with) && sound.in_order && faulty.in_order;
    wrong += good ? 0 : 1;
    std::printf("%s %-46s loss %.1e gradient %.1e (without: %.1e)%s\n", good ? "found" : "WRONG",
                std::string(each.name).c_str(), with.loss, with.gradient, without.gradient,
                sound.in_order ? "" : " out of order");
  }
  if (process.rank() == Rank(0)) std::printf("%zu faults, %d not found\n", fault_cases().size(), wrong);
  process.barrier();
  if (process.rank() != Rank(0)) return 0;
  return report_counts(static_cast<int>(fault_cases().size()) - wrong, wrong);
}

}  // namespace
}  // namespace tw::train

int main(int argc, char** argv) {
  return tw::train::on_all_ranks(argc, argv, tw::train::run);
}
