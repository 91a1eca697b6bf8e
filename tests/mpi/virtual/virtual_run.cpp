// The virtual backend over MPI, a process for each rank: clocks, bytes and order of several layouts on 64
// ranks. Exits with 1 where any rank disagrees.
#include <mpi.h>

#include <cmath>
#include <cstdio>

#include "kernels/backend/virtual/mpi_clocks.hpp"
#include "tests/support/counts.hpp"
#include "tests/support/small_models.hpp"
#include "tests/support/thread_clocks.hpp"

namespace tw {
namespace {

struct Case {
  const char* layout;
  bool experts;
  double clock;  // derived below; 0: compared between ranks alone
};

// 8 layers of 1 s forward and 2 s backward; 64 sequences. Everything else takes no time.
// pp 4 x dp 16: 4 micro-batches, stages of 2 layers: (4 + 3) x 2 x 3 = 42.
// interleaved, vpp 2, pp 4, dp 8 (tp 2): 8 micro-batches: 8 x 6 + 3 x 3 = 57.
const Case kCases[] = {{"pp=4,dp=16,zero=1", false, 42},
                       {"pp=4,vpp=2,schedule=interleaved,tp=2,sp=1,dp=8,zero=2", false, 57},
                       {"pp=4,vpp=2,schedule=zb-v,dp=4,tp=4,sp=1,ep=4,etp=4,zero=1", true, 0},
                       {"pp=4,schedule=dualpipe,dp=8,cp=2,ep=8,zero=3", true, 0},
                       {"tp=4,sp=1,cp=4,cp_kind=ring,dp=4,ep=8,etp=2,zero=3,hsdp=2,recompute=full", true, 0}};

double seconds_of(const Step& step, std::span<const Unit> units) {
  const bool layer = step.action == Action::op && step.op == 0 &&
                     units[static_cast<std::size_t>(step.unit)].kind == Unit::Kind::layer;
  return layer ? (step.backward ? 2 : 1) : 0;
}

bool run(const Case& c, Rank rank, std::int32_t ranks) {
  const Program program(small_input(small_model(c.experts, 8), c.layout, ranks, 64));
  StepSeconds seconds;
  for (std::int32_t stage = 0; stage < program.stages(); ++stage) {
    std::vector<double>& list = seconds.emplace_back();
    for (const Step& step : program.steps(stage)) list.push_back(seconds_of(step, program.units(stage)));
  }
  VirtualRank one(program, rank, seconds, mpi_clocks());
  one.run();
  double least = one.engine.now(), most = one.engine.now();
  MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_DOUBLE, MPI_MIN, MPI_COMM_WORLD);
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  const bool clock = least == most && (c.clock == 0 || most == c.clock);
  const std::int64_t peak = one.recorder.peak_bytes();
  const bool bytes = one.recorder.live_bytes() == 0 && peak == footprint(program, rank).peak;
  const bool all = one.in_order();
  if (rank == Rank(0)) std::printf("%s: %g s, peak %ld bytes\n", c.layout, most, peak);
  if (!clock || !bytes || !all)
    std::printf("rank %d, %s: clock %g to %g, bytes %s, steps %s\n", rank.value(), c.layout, least, most,
                bytes ? "right" : "wrong", all ? "in order" : "out of order");
  return clock && bytes && all;
}

}  // namespace
}  // namespace tw

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0, ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  int wrong = 0, cases = 0;
  for (const tw::Case& c : tw::kCases) {
    int one = tw::run(c, tw::Rank(rank), ranks) ? 0 : 1;
    MPI_Allreduce(MPI_IN_PLACE, &one, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    wrong += one, ++cases;
  }
  MPI_Finalize();
  return rank == 0 ? tw::report_counts(cases - wrong, wrong) : 0;
}
