// A run that is saved and resumed goes on as one that never stopped: bit by bit in its own layout, to
// 1e-10 in another one. Damaged files and files of other runs are refused on every rank, with nothing
// changed. Runs on four ranks; smaller layouts use the first of them.
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>

#include "tests/mpi/saved_runs.hpp"
#include "tests/support/counts.hpp"
#include "topology/json.hpp"

namespace tw::train {
namespace {

constexpr int kBefore = 2, kAfter = 2;
constexpr double kLimit = 1e-10;

// Each with eight layers.
const std::vector<Case> kDense = {{"tied", "dp=1", 1},
                                  {"tied", "dp=2,zero=1", 2},
                                  {"tied", "dp=4", 4},
                                  {"tied", "dp=4,zero=1", 4},
                                  {"tied", "dp=4,zero=2", 4},
                                  {"tied", "dp=4,zero=3", 4},
                                  {"tied", "dp=4,zero=3,hsdp=2", 4},
                                  {"tied", "tp=4,sp=1", 4},
                                  {"tied", "dp=2,tp=2,zero=3", 4},
                                  {"tied", "dp=2,pp=2,zero=1", 4},
                                  {"tied", "pp=4,split=3-2-2-1", 4},
                                  {"tied", "pp=2,dp=2,vpp=2,schedule=interleaved", 4},
                                  {"tied", "pp=4,vpp=2,schedule=zb-v", 4},
                                  {"tied", "pp=2,schedule=dualpipe,dp=2", 4},
                                  {"tied", "cp=2,tp=2,sp=1", 4},
                                  {"tied", "cp=4,cp_kind=ring,zero=1", 4}};
const std::vector<Case> kRouted = {{"shared", "dp=1", 1},
                                   {"shared", "dp=2,ep=2,zero=1", 2},
                                   {"shared", "pp=3", 3},
                                   {"shared", "dp=4,ep=4", 4},
                                   {"shared", "dp=4,ep=2,zero=3", 4},
                                   {"shared", "dp=2,tp=2,sp=1,ep=2,etp=2", 4},
                                   {"shared", "pp=2,dp=2,ep=2,zero=2,vpp=2,schedule=interleaved", 4},
                                   {"shared", "pp=2,schedule=dualpipe-v,vpp=2,tp=2,ep=2", 4},
                                   {"shared", "cp=2,dp=2,ep=4", 4},
                                   {"shared", "cp=2,cp_kind=a2a,dp=2,etp=2", 4}};

class Pairs {
 public:
  Pairs(const cpu::MpiProcess& process, Messages& messages, std::filesystem::path folder)
      : process_(process), messages_(messages), folder_(std::move(folder)) {}

  // Every layout's file is resumed by its own layout and by some others.
  void run(const std::vector<Case>& list) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (!legal(list[i])) continue;
      const Outcome straight = save(list[i]);
      for (const std::size_t ahead : {0u, 1u, 3u, 8u}) {
        const Case& other = list[(i + ahead) % list.size()];
        if (ahead < list.size() && legal(other)) compare(list[i], straight, other);
      }
    }
  }
  int count() const { return count_; }
  int wrong() const { return wrong_; }
  void report() const {
    std::printf(
        "%d pairs of layouts, %d wrong; worst in another layout: loss %.1e, gradient, master or "
        "moment %.1e (%s)\n",
        count_, wrong_, worst_.loss, worst_.gradient, worst_.where.c_str());
  }

 private:
  static Case eight_layers(Case one) {
    one.layers = 8;
    return one;
  }
  static bool legal(const Case& one) {
    const ProgramInput input = input_of(eight_layers(one));
    Job job = input.job;
    job.model = &input.model;
    const std::string why = illegal_because(input.layout, job);
    if (!why.empty()) throw std::runtime_error(one.layout + ": " + why);
    return true;
  }
  bool takes_part(const Case& one) const { return process_.rank().value() < one.ranks; }

  Outcome save(const Case& one) {
    Outcome out;
    if (takes_part(one)) {
      SavedRun<double> run(eight_layers(one), messages_);
      run.steps(kBefore);
      save_checkpoint((folder_ / "saved").string(), run.engine());
      out = run.steps(kAfter);
    }
    process_.barrier();
    return out;
  }
  void compare(const Case& from, const Outcome& straight, const Case& to) {
    Outcome resumed;
    if (takes_part(to)) {
      SavedRun<double> run(eight_layers(to), messages_);
      load_checkpoint((folder_ / "saved").string(), run.engine());
      resumed = run.steps(kAfter);
    }
    process_.barrier();
    if (process_.rank() != Rank(0)) return;
    const bool own = &from == &to || from.layout == to.layout;
    const Difference d = difference(straight.trace, resumed.trace);
    const bool good = own ? straight == resumed : d.loss <= kLimit && d.gradient <= kLimit;
    ++count_, wrong_ += good ? 0 : 1;
    if (!good)
      std::printf("WRONG %s -> %s: loss %.1e, %.1e (%s)\n", from.layout.c_str(), to.layout.c_str(), d.loss,
                  d.gradient, d.where.c_str());
    if (!(worst_.loss >= d.loss)) worst_.loss = d.loss;
    if (!(worst_.gradient >= d.gradient))
      worst_.gradient = d.gradient, worst_.where = from.layout + " -> " + to.layout + ", " + d.where;
  }

  const cpu::MpiProcess& process_;
  Messages& messages_;
  std::filesystem::path folder_;
  int count_ = 0, wrong_ = 0;
  Difference worst_;
};

// A folder of this launch, with one name on all ranks; the first one makes and removes it.
std::filesystem::path folder_of(const cpu::MpiProcess& process, Messages& messages) {
  std::vector<Rank> world;
  for (std::int32_t i = 0; i < process.size(); ++i) world.push_back(Rank(i));
  const std::int64_t own = ::getpid();
  std::vector<std::int64_t> all(world.size());
  messages.all_gather(world, &own, sizeof own, all.data());
  const auto path =
      std::filesystem::temp_directory_path() / ("trainwright-checkpoint-" + std::to_string(all.front()));
  if (process.rank() == Rank(0)) std::filesystem::create_directories(path);
  return path;
}

int run(const cpu::MpiProcess& process) {
  const std::unique_ptr<Messages> messages = cpu::mpi_messages();
  const std::filesystem::path folder = folder_of(process, *messages);
  Pairs pairs(process, *messages, folder);
  pairs.run(kDense);
  pairs.run(kRouted);
  const Counts refusals = refuse_damaged(process, *messages, folder);
  if (process.rank() != Rank(0)) return 0;
  pairs.report();
  std::printf("%d damaged or foreign files, %d not refused as they should be\n", refusals.cases,
              refusals.wrong);
  std::filesystem::remove_all(folder);
  const int wrong = pairs.wrong() + refusals.wrong;
  return report_counts(pairs.count() + refusals.cases - wrong, wrong);
}

}  // namespace
}  // namespace tw::train

int main(int argc, char** argv) {
  return tw::train::on_all_ranks(argc, argv, tw::train::run);
}
