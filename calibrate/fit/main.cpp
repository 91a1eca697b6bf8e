// trainwright-fit SCENARIOS NAME: refits scenarios/calibrations/NAME.json to the rows that its
// `inputs` name, writes it back and prints every row with its residual.
// trainwright-fit import-nccl-tests GPU NODES OUT.json LOG...: rows of nccl-tests' output as a file that
// `inputs` can name; NODES 0: as many as the logs name hosts.
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "calibrate/fit/fit.hpp"
#include "calibrate/import/nccl_tests.hpp"
#include "topology/check.hpp"

namespace {

using namespace tw;

void print_curve(const char* name, const Evidence& evidence, bool rows) {
  const Residuals& r = *evidence.residuals;
  fmt::print(
      "{:<26}{:>5} rows  median {:5.1f} %  p95 {:5.1f} %  left out: {:5.1f} % {:5.1f} %  spread {:.3f}\n",
      name, r.rows, 100 * r.median, 100 * r.p95, 100 * r.left_out_median, 100 * r.left_out_p95,
      evidence.spread);
  if (!rows) return;
  for (const CurvePoint& p : *evidence.points) {
    fmt::print("    {:<44}{:>12.2f} us {:>12.2f} us {:>+7.1f} %\n", p.at, in_us(p.measured), in_us(p.fitted),
               100 * (p.fitted / p.measured - 1));
  }
}

void print(const CalibrationFile& file, bool rows) {
  print_curve("gemm", file.gemm.evidence, rows);
  print_curve("grouped_gemm", file.grouped_gemm.evidence, rows);
  print_curve("flash2 forward", file.attention.flash2.forward.evidence, rows);
  print_curve("flash2 backward", file.attention.flash2.backward.evidence, rows);
  print_curve("cudnn forward", file.attention.cudnn.forward.evidence, rows);
  print_curve("cudnn backward", file.attention.cudnn.backward.evidence, rows);
  print_curve("ring in a node", file.links.ring_intra.evidence, rows);
  print_curve("nvls", file.links.nvls_intra.evidence, rows);
  print_curve("pairwise in a node", file.links.pairwise_intra.evidence, rows);
  print_curve("send in a node", file.links.send_intra.evidence, rows);
  for (const ExchangeTable& table : *file.links.tables)
    print_curve(fmt::format("{} of {}{}", name_of(table.collective), table.ranks,
                            *table.nodes > 1 ? " between nodes" : "")
                    .c_str(),
                table.evidence, rows);
  print_curve("ring between nodes", file.links.ring_inter.evidence, rows);
  print_curve("tree between nodes", file.links.tree_inter.evidence, rows);
  print_curve("pairwise between nodes", file.links.pairwise_inter.evidence, rows);
  print_curve("send between nodes", file.links.send_inter.evidence, rows);
}

void print_dispatch(const CalibrationFile& file, const std::vector<CollectiveRow>& rows) {
  const Bytes least(1 << 20);
  fmt::print("\nfastest algorithm beside the rows of at least 1 MiB: median and largest residual\n");
  for (const DispatchResiduals& each : dispatch_residuals(file, rows, least)) {
    std::vector<double> sizes;
    for (const double r : each.residuals) sizes.push_back(std::abs(r));
    fmt::print("{:<52}{:>4} rows {:>+7.1f} % {:>6.1f} %\n", each.at, sizes.size(),
               100 * median(each.residuals), 100 * percentile(sizes, 1));
  }
}

int import_logs(const std::vector<std::string>& arguments) {
  if (arguments.size() < 4)
    throw InputError("command line", "",
                     "usage: trainwright-fit import-nccl-tests GPU NODES OUT.json LOG...");
  const Gpu gpu = load_gpu(arguments[0]);
  MeasuredFile file;
  file.title = "nccl-tests on " + arguments[0], file.command = "trainwright-fit import-nccl-tests";
  for (std::size_t i = 3; i < arguments.size(); ++i) {
    std::ifstream in(arguments[i], std::ios::binary);
    if (!in) throw InputError(arguments[i], "", "cannot be read");
    std::ostringstream text;
    text << in.rdbuf();
    NcclLog log;
    log.name = log.source = arguments[i], log.gpu = arguments[0];
    try {
      log.nodes = std::stoi(arguments[1]);
    } catch (const std::exception&) {
      throw InputError("command line", "NODES", "must be a number");
    }
    const ImportedRows got = read_nccl_tests(text.str(), log, gpu);
    for (const std::string& why : got.skipped) fmt::print(stderr, "not read: {}\n", why);
    fmt::print("{}: {} rows\n", arguments[i], got.rows.size());
    std::vector<CollectiveRow>& all = file.collectives.value;
    all.insert(all.end(), got.rows.begin(), got.rows.end());
  }
  file.source = "published: nccl-tests logs; each row names its own";
  write_file(arguments[2], to_json(file).dump());
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc > 1 && argv[1] == std::string("import-nccl-tests")) return import_logs({argv + 2, argv + argc});
  if (argc < 3) throw InputError("command line", "", "usage: trainwright-fit SCENARIOS NAME [--summary]");
  const std::string folder = argv[1], path = folder + "/calibrations/" + argv[2] + ".json";
  CalibrationFile file = load<CalibrationFile>(path);
  refit(file, folder);
  print(file, argc == 3);
  const MeasuredFile published = load<MeasuredFile>(folder + "/" + file.inputs->published);
  print_dispatch(file, *published.collectives);
  drop_link_points(file);
  write_file(path, to_json(file).dump());
  return 0;
} catch (const InputError& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 2;
}
