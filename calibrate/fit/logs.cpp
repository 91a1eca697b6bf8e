#include "calibrate/fit/logs.hpp"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "calibrate/fit/fit.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct LoggedCollective {
  std::string_view op, algorithm;
  Collective kind;
};
constexpr LoggedCollective kCollectives[] = {{"all_reduce", "ring", Collective::all_reduce},
                                             {"all_gather", "ring", Collective::all_gather},
                                             {"reduce_scatter", "ring", Collective::reduce_scatter},
                                             {"all_to_all", "pairwise", Collective::all_to_all},
                                             {"send", "direct", Collective::send}};

std::string use_of(const LogRow& row) {
  return row.use == "check" ? "held_out" : row.use == "fit" ? "fit" : "check";
}

CollectiveRow collective_row(const LoggedCollective& kind, const LogRow& row,
                             const CalibratedDevice& device) {
  CollectiveRow out;
  out.use = use_of(row), out.algorithm = kind.algorithm, out.gpu = device.gpu;
  out.collective = kind.kind, out.bytes = Bytes(row.shape.at(0));
  out.ranks = static_cast<std::int32_t>(row.shape.at(1));
  out.intra = device.nvlink_one_way;
  out.time = microseconds(median(row.us));
  return out;
}

}  // namespace

LoggedRows rows_of_log(const LogFile& log, const CalibratedDevice& device) {
  LoggedRows out;
  for (const LogRow& row : log.rows) {
    if (row.us.empty()) continue;  // refused by the library
    const auto kind = std::find_if(std::begin(kCollectives), std::end(kCollectives),
                                   [&](const auto& k) { return k.op == row.op; });
    if (kind != std::end(kCollectives)) {
      out.collectives.push_back(collective_row(*kind, row, device));
      continue;
    }
    KernelRow kernel;
    kernel.op = row.op, kernel.shape = row.shape, kernel.use = use_of(row);
    kernel.time = microseconds(median(row.us));
    out.kernels.push_back(kernel);
  }
  return out;
}

LoggedRows load_logs(const std::vector<std::string>& paths, const CalibratedDevice& device) {
  LoggedRows all;
  for (const std::string& path : paths) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw InputError(path, "", "cannot be read");
    std::ostringstream text;
    text << file.rdbuf();
    const LoggedRows rows = rows_of_log(parse_log(text.str(), path), device);
    all.kernels.insert(all.kernels.end(), rows.kernels.begin(), rows.kernels.end());
    all.collectives.insert(all.collectives.end(), rows.collectives.begin(), rows.collectives.end());
  }
  return all;
}

std::vector<KernelRow> overlaid(const std::vector<KernelRow>& rows, const std::vector<KernelRow>& over) {
  std::set<std::string> ops;
  for (const KernelRow& row : over) ops.insert(row.op);
  std::vector<KernelRow> all = over;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(all),
               [&](const auto& row) { return !ops.contains(row.op); });
  return all;
}

}  // namespace tw
