// trainwright calibrate: starts trainwright-calibrate on all ranks of this machine and says what came out.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <ctime>
#include <sstream>
#include <thread>

#include "costmodel/curves.hpp"
#include "planner/child.hpp"
#include "planner/command.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/problem.hpp"
#include "topology/check.hpp"
#include "topology/cluster.hpp"

namespace tw {
namespace {

struct Options {
  std::string device = "cpu", ranks, cluster = "local-cpu", base, out = "local-cpu.json", seconds = "40",
              launcher;
  bool quiet = false;
};

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%F", std::localtime(&now));
  return text;
}

std::int64_t ranks_of(const Options& o) {
  if (o.ranks.empty() && o.cluster != Options{}.cluster) return load_cluster(o.cluster).gpus;
  if (o.ranks.empty()) return std::max(1u, std::thread::hardware_concurrency());
  return whole_number("--ranks", o.ranks, 1, 4096);
}

std::string line(std::string_view name, const Evidence& evidence, const std::string& rate) {
  const Residuals& r = *evidence.residuals;
  return fmt::format("{:<22}{:>5} rows  {:<14} median error {:>5.1f}%, 95 of 100 within {:.1f}%\n", name,
                     r.rows, rate, 100 * r.median, 100 * r.p95);
}

std::string summary(const CalibrationFile& k) {
  std::string out = line("gemm", k.gemm.evidence, to_string(k.gemm.rate));
  out += line("grouped gemm", k.grouped_gemm.evidence, to_string(k.grouped_gemm.rate));
  out += line("attention", k.attention.flash2.forward.evidence, to_string(k.attention.flash2.forward.rate));
  out += line("attention backward", k.attention.flash2.backward.evidence,
              to_string(k.attention.flash2.backward.rate));
  for (const auto& [name, curves] : *k.operators) {
    out += line(name, curves.forward.evidence, to_string(curves.forward.rate));
    if (curves.backward.rate.value != curves.forward.rate.value)
      out += line(name + " backward", curves.backward.evidence, to_string(curves.backward.rate));
  }
  for (const auto& [name, curve] :
       {std::pair{"collectives", &k.links.ring_intra}, std::pair{"all-to-all", &k.links.pairwise_intra},
        std::pair{"send", &k.links.send_intra}, std::pair{"between hosts", &k.links.ring_inter},
        std::pair{"all-to-all", &k.links.pairwise_inter}, std::pair{"send", &k.links.send_inter}}) {
    if (curve->evidence.provenance == Provenance::measured) out += line(name, curve->evidence, "");
  }
  return out;
}

int run(const Options& o) {
  if (o.device != "cpu")
    throw InputError("command line", "--device", "\"" + printable(o.device) + "\" is not there; legal: cpu");
  check_output("--out", o.out);
  const double seconds = decimal("--seconds", o.seconds, 0.1, 3600);
  std::vector<std::string> argv = launcher(static_cast<int>(ranks_of(o)), o.launcher);
  for (const std::string& each :
       {sibling("trainwright-calibrate"), std::string("--out"), o.out, std::string("--date"), today(),
        std::string("--seconds"), fmt::format("{}", seconds), std::string("--cluster"), o.cluster})
    argv.push_back(each);
  if (!o.base.empty()) argv.insert(argv.end(), {"--base", o.base});
  const ChildResult result = run_child(argv, {}, [&](const std::string& text) {
    if (!o.quiet && text.starts_with("[")) fmt::print(stderr, "{}\n", text);
  });
  if (!result.good()) {
    const std::string said = said_by("trainwright-calibrate", result);
    fmt::print(stderr, "trainwright: calibrating {}: {}\n", result.ended.empty() ? "failed" : result.ended,
               said.empty() ? printable(result.last_lines, 900) : said);
    return result.code == kBadInput ? kBadInput : kRunFailed;
  }
  const auto file = load<CalibrationFile>(o.out);
  if (!o.quiet) print(summary(file));
  print(fmt::format("{}: {}\n", o.out, file.title));
  return kAnswered;
}

struct Import {
  std::vector<std::string> logs;
  std::string gpu, nodes = "1", out = "nccl-tests.rows.json";
};

int import_logs(const Import& o) {
  check_output("--out", o.out);
  std::vector<std::string> argv = {sibling("trainwright-fit"), "import-nccl-tests", o.gpu,
                                   std::to_string(whole_number("--nodes", o.nodes, 1, 100000)), o.out};
  argv.insert(argv.end(), o.logs.begin(), o.logs.end());
  const ChildResult result =
      run_child(argv, {}, [](const std::string& text) { fmt::print(stderr, "{}\n", text); });
  std::istringstream said(result.last_lines);  // what it did not read, or why it stopped
  for (std::string text; std::getline(said, text);)
    fmt::print(stderr, "{}{}\n", result.good() ? "" : "trainwright: ", printable(text, 400));
  if (!result.good()) return result.code == kBadInput ? kBadInput : kRunFailed;
  print(fmt::format("{}: what inputs.collectives of a calibration may name\n", o.out));
  return kAnswered;
}

CLI::App* add_import(CLI::App& app, Import& o) {
  CLI::App* import = app.add_subcommand(
      "import-nccl-tests",
      "rows of the output of all_reduce_perf and others; says which lines it did not read");
  import->add_option("LOG", o.logs, "output of one run each, as it was printed")->required();
  text_option(*import, "--gpu", o.gpu, "G: of all ranks (trainwright list gpus)")->required();
  text_option(*import, "--nodes", o.nodes, "N: hosts, with as many ranks each");
  text_option(*import, "--out", o.out, "FILE: the rows");
  import->footer(
      "Example:\n  trainwright calibrate import-nccl-tests all_reduce.log --gpu h100-sxm --nodes 4 --out "
      "rows.json");
  return import;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  text_option(app, "--device", o->device, "cpu");
  text_option(app, "--ranks", o->ranks,
              "N: all run at once, as training runs them; default: one for each core");
  text_option(app, "--cluster", o->cluster,
              "C: what the ranks are on, with as many; default: local-cpu, one host");
  text_option(app, "--base", o->base,
              "K: a calibration of one of its hosts: kept, and exchanges between hosts added");
  text_option(app, "--launcher", o->launcher,
              "'CMD {ranks}': starts the ranks; default: mpirun, or srun inside its job");
  text_option(app, "--out", o->out,
              "K: the calibration; its rows go beside it, and a run that was stopped goes on from them");
  text_option(app, "--seconds", o->seconds, "S: at most, for exchanges and for operators each");
  app.add_flag("--quiet", o->quiet, "the answer alone");
  app.footer(
      "Example:\n  trainwright calibrate --device cpu --out here.json\n  trainwright plan --model tiny-moe "
      "--cluster "
      "local-cpu:2 --calibration here.json --framework trainwright-cpu --global-batch 16 --seq 256\n"
      "Exit codes: 0 written; 2 bad input; 4 a run failed");
  auto logs = std::make_shared<Import>();
  const CLI::App* import = add_import(app, *logs);
  return [o, logs, import] { return import->parsed() ? import_logs(*logs) : run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command calibrate;
constinit const Command calibrate = {"calibrate", 6, "what do kernels and links really cost here?", setup};
}  // namespace commands
}  // namespace tw
