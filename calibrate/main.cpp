// trainwright-calibrate: measures this machine on all ranks of the launch and writes a calibration.
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>

#include "calibrate/fit/fit.hpp"
#include "calibrate/measure/command_line.hpp"
#include "calibrate/probes/machine.hpp"
#include "calibrate/probes/quick.hpp"
#include "calibrate/probes/training_ops.hpp"
#include "kernels/backend/cpu/mpi.hpp"
#include "topology/check.hpp"
#include "topology/cluster.hpp"
#include "train/machine.hpp"

namespace {

using namespace tw;

struct Options {
  std::string device = "cpu", out = "local-cpu.json", cluster = "local-cpu", base, date;
  double seconds = 30;  // of exchanges, and of operators, at most
  bool quiet = false, quick = false;
};

// Rows beside the calibration, written after each part: an interrupted run goes on where it was. The first
// rank has the file; what it says is so for all.
class RowsFile {
 public:
  RowsFile(std::string path, std::string machine, bool writes) : path_(std::move(path)), writes_(writes) {
    if (writes_ && std::filesystem::exists(path_)) rows = load<MeasuredFile>(path_);
    if (!rows.title.empty() && rows.title != machine)
      throw InputError(path_, "title",
                       fmt::format("rows of another machine or launch ({}); this is {}; delete it or "
                                   "give another --out",
                                   rows.title, machine));
    rows.title = std::move(machine);
  }
  bool has(const std::string& part, Messages& messages, Group everyone) const {
    const bool here = std::find(rows.done->begin(), rows.done->end(), part) != rows.done->end();
    double found = writes_ && here ? 1 : 0;
    messages.all_reduce(everyone, &found, 1);
    return found > 0;
  }
  void add(const std::string& part, const std::vector<KernelRow>& kernels,
           const std::vector<CollectiveRow>& links, const std::vector<RoutingRow>& routing = {}) {
    rows.routing.value.insert(rows.routing.value.end(), routing.begin(), routing.end());
    rows.kernels.value.insert(rows.kernels.value.end(), kernels.begin(), kernels.end());
    rows.collectives.value.insert(rows.collectives.value.end(), links.begin(), links.end());
    rows.done.value.push_back(part);
    if (writes_) write_file(path_, to_json(rows).dump());
  }
  MeasuredFile rows;

 private:
  std::string path_;
  bool writes_;
};

// What joins the ranks that exchange.
struct Wire {
  std::string name;  // of the parts in the rows' file
  Messages& messages;
  std::int32_t ranks, hosts;
};

class Run {
 public:
  Run(const cpu::MpiProcess& process, Options options)
      : process_(process),
        options_(std::move(options)),
        cluster_(load_cluster(options_.cluster)),
        device_(load_gpu(cluster_.gpu)),
        hosts_(process.hosts()),
        main_(process.rank() == Rank(0)),
        rows_(options_.out.substr(0, options_.out.rfind(".json")) + ".rows.json", title(), main_) {
    if (device_.architecture != "cpu")
      throw InputError(options_.cluster, "gpu", "\"" + cluster_.gpu + "\" is no CPU");
    if (hosts_ != cluster_.nodes() || (hosts_ > 1 && process_.size() != cluster_.gpus))
      throw InputError(options_.cluster, "gpus",
                       fmt::format("{} ranks on {} hosts, but {} were started on {}", cluster_.gpus,
                                   cluster_.nodes(), process_.size(), hosts_));
    if (!options_.base.empty()) base_ = load<CalibrationFile>(options_.base);
  }

  void run() {
    const std::int32_t ranks = process_.size(), of_host = ranks / hosts_;
    const std::unique_ptr<Messages> host = cpu::mpi_messages(cpu::MpiScope::host);
    if (!base_ && !has("copy")) rows_.add("copy", {copy_row()}, {});
    if (!base_ && of_host > 1) exchanges({"exchanges", *host, of_host, 1});
    if (hosts_ > 1) exchanges({"exchanges between hosts", *all_, ranks, hosts_});
    if (!base_) measure(training_shapes(), {"operators", *all_, ranks, hosts_});
    if (main_) write();
  }

 private:
  std::string title() const {
    return fmt::format("{}, {} ranks on {} host{}", processor(), process_.size(), hosts_,
                       hosts_ > 1 ? "s" : "");
  }
  bool has(const std::string& part) const { return rows_.has(part, *all_, everyone(process_.size())); }
  void exchanges(const Wire& wire) {
    const std::string send = wire.name + ", send";
    if (!has(send)) rows_.add(send, {}, linked(send_rows(wire.messages, wire.ranks), wire));
    measure(exchange_shapes(wire.ranks), wire);
  }
  // In turns, until all are known or the time is over.
  void measure(const std::vector<TrainingShape>& shapes, const Wire& wire) {
    if (has(wire.name)) return;
    constexpr double kError = 0.01;
    constexpr int kLeast = 6, kFewest = 3;  // rounds; the fewest where they take too long
    std::vector<ShapeRun> runs;
    for (const TrainingShape& shape : shapes) runs.emplace_back(shape, wire.messages, wire.ranks);
    const auto start = std::chrono::steady_clock::now();
    bool known = false;
    for (int round = 1; !known; ++round) {
      known = round > kLeast;
      for (ShapeRun& run : runs) run.step();
      for (const ShapeRun& run : runs) known = known && run.known(kError);
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      double over = round > kFewest && taken.count() > options_.seconds ? 1 : 0;
      wire.messages.all_reduce(everyone(wire.ranks), &over, 1);
      known = known || over > 0;
      say(fmt::format("{}, round {}: {} shapes, {:.0f} s", wire.name, round, runs.size(), taken.count()));
    }
    keep(runs, wire);
  }
  // Exchanges run within shapes of theirs alone; a rank by itself has operators.
  void keep(const std::vector<ShapeRun>& runs, const Wire& wire) {
    MeasuredOps all;
    for (const ShapeRun& run : runs) {
      const MeasuredOps one = run.result();
      all.kernels.insert(all.kernels.end(), one.kernels.begin(), one.kernels.end());
      all.collectives.insert(all.collectives.end(), one.collectives.begin(), one.collectives.end());
      all.routing.insert(all.routing.end(), one.routing.begin(), one.routing.end());
    }
    if (wire.name != "operators") all.kernels.clear();
    rows_.add(wire.name, all.kernels, linked(std::move(all.collectives), wire), all.routing);
  }
  void say(const std::string& line) const {
    if (!main_ || options_.quiet) return;
    fmt::print("[{}]\n", line);
    std::fflush(stdout);
  }
  static std::vector<Rank> everyone(std::int32_t ranks) {
    std::vector<Rank> out;
    for (std::int32_t i = 0; i < ranks; ++i) out.push_back(Rank(i));
    return out;
  }
  std::vector<CollectiveRow> linked(std::vector<CollectiveRow> rows, const Wire& wire) const {
    const NodeSpec& node = cluster_.node;
    for (CollectiveRow& row : rows) {
      row.intra = device_.pcie_one_way;
      if (wire.hosts == 1) continue;
      row.nodes = row.collective == Collective::send ? 2 : wire.hosts;
      row.inter = node.nic_rate * (static_cast<double>(node.nics) / node.gpus);
      row.inter_latency = node.nic_latency + cluster_.network.switch_latency;
    }
    return rows;
  }

  void write() {
    CalibrationFile file = base_ ? *base_ : fit_cpu(rows_.rows, device_);
    if (base_) fit_between_hosts(file, *rows_.rows.collectives, "measured: exchanges of the trainer's steps");
    file.title = rows_.rows.title, file.machine = processor();
    file.date = options_.date, file.driver = "Eigen, MPI";
    file.command = fmt::format("mpirun -n {} trainwright-calibrate --device cpu --cluster {}",
                               process_.size(), options_.cluster);
    file.source = "measured in the trainer's own steps on all ranks at once; each curve names its rows";
    file.host.context = context_;
    drop_link_points(file);
    write_file(options_.out, to_json(file).dump());
    fmt::print("{}\n", options_.out);
  }

  const cpu::MpiProcess& process_;
  Options options_;
  Cluster cluster_;
  Gpu device_;
  std::int32_t hosts_;
  bool main_;
  RowsFile rows_;
  std::optional<CalibrationFile> base_;
  std::unique_ptr<Messages> all_ = cpu::mpi_messages();
  Bytes context_ = resident();
};

// Nothing where help was asked for.
std::optional<Options> parse(int argc, char** argv, bool speaks) {
  Options out;
  CLI::App app{"measures this machine on all ranks of the launch"};
  app.add_option("--device", out.device, "cpu");
  app.add_option("--cluster", out.cluster, "what the ranks are on: two hosts or more need their file");
  app.add_option("--base", out.base, "K: keep what it has; measure exchanges between hosts alone");
  app.add_option("--out", out.out, "FILE: the calibration; its rows go beside it, FILE.rows.json");
  app.add_option("--date", out.date, "written into the file");
  app.add_option("--seconds", out.seconds, "at most, for exchanges and for operators each");
  app.add_flag("--quiet", out.quiet, "no progress");
  app.add_flag("--quick", out.quick, "a few seconds' exchanges and work of each rank as one line; no file");
  if (!understood(app, argc, argv, speaks)) return {};
  if (out.device != "cpu") throw InputError("command line", "--device", "must be cpu");
  return out;
}

void print_quick(const cpu::MpiProcess& process) {
  constexpr double kSeconds = 2;
  const QuickRows rows = quick_rows(*cpu::mpi_messages(), process.size(), kSeconds);
  if (process.rank() == Rank(0)) fmt::print("{}\n", to_json(rows).dump(-1));
}

}  // namespace

int main(int argc, char** argv) {
  mallopt(M_MMAP_THRESHOLD, 1 << 30), mallopt(M_TRIM_THRESHOLD, 1 << 30);
  const cpu::MpiProcess process(argc, argv);
  constexpr int kBadInput = 2, kFailed = 4;
  try {
    auto options = parse(argc, argv, process.rank() == Rank(0));
    if (!options) return 0;
    options->quick ? print_quick(process) : Run(process, std::move(*options)).run();
    return 0;
  } catch (const InputError& error) {  // on one rank, perhaps: the others would wait for it
    fmt::print(stderr, "trainwright-calibrate: {}\n", error.what());
    cpu::MpiProcess::abort(kBadInput);
  } catch (const std::exception& error) {
    fmt::print(stderr, "trainwright-calibrate: rank {}: {}\n", process.rank().value(), error.what());
    cpu::MpiProcess::abort(kFailed);
  }
}
