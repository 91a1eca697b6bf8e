// trainwright-calibrate-gpu: measures the GPUs of this launch, one per rank, and writes every sample as
// JSON lines; with --serve it measures the cases that it reads, one line each.
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <set>

#include "calibrate/measure/command_line.hpp"
#include "calibrate/measure/row_log.hpp"
#include "calibrate/probes/gpu/probe.hpp"
#include "kernels/backend/cpu/mpi.hpp"
#include "kernels/backend/gpu/check.hpp"
#include "topology/check.hpp"

namespace {

using namespace tw;
using namespace tw::gpu;

struct Options {
  std::string out = "gpu.rows.jsonl", date, command;
  std::vector<std::string> only;
  double seconds = 480;
  bool serve = false, quiet = false;
  int device = -1;
};

// What NCCL takes for the node.
std::string node_name() {
  if (const char* name = std::getenv("NCCL_HOSTID")) return name;
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

std::string nccl_environment() {
  std::set<std::string> found;
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view entry = *each;
    if (entry.starts_with("NCCL_") && !entry.starts_with("NCCL_HOSTID=")) found.emplace(entry);
  }
  std::string text;
  for (const std::string& each : found) text += (text.empty() ? "" : " ") + each;
  return text;
}

class Calibrator {
 public:
  Calibrator(std::int32_t rank, std::int32_t ranks, Options options) : options_(std::move(options)) {
    bench_.rank = rank, bench_.ranks = ranks;
    if (bench_.ranks > 1) bench_.communicator.emplace(bench_.rank, bench_.ranks);
    launch_ = {ranks, different_of_ranks(node_name())};
    synchronise();
  }

  void calibrate() {
    RowLog log(options_.out, machine(), first());
    const auto start = std::chrono::steady_clock::now();
    for (const Probe* probe : all_probes()) {
      if (!options_.only.empty() &&
          std::find(options_.only.begin(), options_.only.end(), probe->name) == options_.only.end())
        continue;
      std::size_t count = 0;
      for (const Case& one : probe->cases(launch_)) {
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
        if (of_first_rank(taken.count()) > options_.seconds)
          return say("the time is over; run again to go on");
        if (of_first_rank(log.has(one.op, one.shape) ? 1 : 0) > 0) continue;
        for (const LogRow& row : measured(*probe, one)) log.add(row);
        ++count;
      }
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      say(std::string(probe->name) + ": " + std::to_string(count) + " cases, " +
          std::to_string(taken.count()) + " s");
    }
  }

  // Reads cases from the first rank's standard input and answers each with its row.
  void serve() {
    bench_.record = false;  // beside a program whose host launches each kernel
    if (first()) std::cout << to_json(machine()).dump(-1) << std::endl;
    for (;;) {
      std::string line;
      if (first() && !std::getline(std::cin, line)) line = "quit";
      line = text_of_first_rank(line);
      if (line == "quit") return;
      const std::optional<Case> one = parse_case(line);
      if (!one) {
        if (first()) std::cout << "{\"error\": \"no such case\"}" << std::endl;
        continue;
      }
      for (const LogRow& row : measured(*probe_of(one->op), *one)) {
        if (first()) std::cout << to_json(row).dump(-1) << std::endl;
      }
    }
  }

 private:
  bool first() const { return bench_.rank == 0; }
  void say(const std::string& line) const {
    if (first() && !options_.quiet) std::printf("[%s]\n", line.c_str()), std::fflush(stdout);
  }
  // A case that the library refuses is a row without samples.
  std::vector<LogRow> measured(const Probe& probe, const Case& one) {
    std::vector<LogRow> rows;
    if (probe.together || first()) {
      try {
        rows = probe.measure(bench_, one);
      } catch (const DeviceRefusal& error) {
        std::fprintf(stderr, "%s: %s\n", case_name(one.op, one.shape).c_str(), error.what());
        rows = {{one.op, one.shape, one.use, {}}};
      }
      synchronise();
    }
    if (!probe.together) meet();
    return rows;
  }
  LogMachine machine() const {
    const DeviceFacts& f = bench_.facts;
    LogMachine out;
    out.gpu = f.name, out.identity = f.uuid;
    out.driver = bench_.watch.driver();
    out.libraries =
        "CUDA " + f.runtime + ", cuBLASLt " + f.cublas + ", cuDNN " + f.cudnn + ", NCCL " + f.nccl;
    out.ranks = bench_.ranks, out.nodes = launch_.nodes, out.sms = f.sms;
    out.nccl_environment = nccl_environment();
    out.power_limit_w = bench_.watch.power_limit_w();
    out.date = options_.date, out.command = options_.command;
    return out;
  }

  Options options_;
  Launch launch_;
  Bench bench_;
};

// Nothing where help was asked for.
std::optional<Options> parse(int argc, char** argv, bool speaks) {
  Options out;
  CLI::App app{"measures the GPUs of this launch, one per rank"};
  app.add_option("--out", out.out,
                 "FILE: the rows, JSON lines; a run that was interrupted goes on where it was");
  app.add_option("--only", out.only, "names of probes")->delimiter(',');
  app.add_option("--date", out.date, "written into the file");
  app.add_option("--seconds", out.seconds, "no case begins later");
  app.add_option("--device", out.device, "the first rank's GPU, the next rank's is the next one");
  app.add_flag("--serve", out.serve, "measures the cases of standard input");
  app.add_flag("--quiet", out.quiet, "no progress");
  if (!understood(app, argc, argv, speaks)) return {};
  for (int i = 0; i < argc; ++i)
    out.command += (i > 0 ? " " : "") + std::string(i > 0 ? argv[i] : "trainwright-calibrate-gpu");
  return out;
}

void take_device(const Options& options, std::int32_t rank) {
  const std::int32_t count = device_count(), first = std::max(0, options.device);
  if (count == 0) throw InputError("command line", "", "no GPU that CUDA can use");
  use_device((first + rank) % count);
}

// MPI is initialised under a launcher alone: a single process needs none, and starts sooner.
bool launched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  std::optional<cpu::MpiProcess> process;
  if (launched()) process.emplace(argc, argv);
  const std::int32_t rank = process ? process->rank().value() : 0;
  setenv("NCCL_GRAPH_REGISTER", "0", 0);  // recorded collectives take the path of launched ones
  try {
    const auto options = parse(argc, argv, rank == 0);
    if (!options) return 0;
    take_device(*options, rank);
    Calibrator run(rank, process ? process->size() : 1, *options);
    options->serve ? run.serve() : run.calibrate();
    return 0;
  } catch (const InputError& error) {
    std::fprintf(stderr, "trainwright-calibrate-gpu: %s\n", error.what());
    if (process && process->size() > 1) cpu::MpiProcess::abort(2);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "trainwright-calibrate-gpu: rank %d: %s\n", rank, error.what());
    if (process) cpu::MpiProcess::abort(1);
    return 1;
  }
}
