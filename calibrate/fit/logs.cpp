#include "calibrate/fit/logs.hpp"

#include <algorithm>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

#include "calibrate/fit/fit.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

std::optional<Collective> collective_named(std::string_view op) {
  for (const auto& [kind, name] : enum_names(static_cast<const Collective*>(nullptr))) {
    if (name == op) return kind;
  }
  return std::nullopt;
}

std::string use_of(const LogRow& row) {
  return row.use == "check" ? "held_out" : row.use == "fit" ? "fit" : "check";
}

CollectiveRow collective_row(Collective kind, const LogRow& row, const CalibratedDevice& device,
                             BytesPerSec network) {
  CollectiveRow out;
  out.use = use_of(row), out.algorithm = usual_algorithm(kind), out.gpu = device.gpu;
  out.collective = kind, out.bytes = Bytes(row.shape.at(0));
  out.ranks = static_cast<std::int32_t>(row.shape.at(1));
  out.intra = device.nvlink_one_way;
  if (row.shape.size() > 2) {
    out.nodes = static_cast<std::int32_t>(row.shape[2]), out.inter = network;
    if (network.value <= 0)
      throw InputError("inputs", "network",
                       "missing: a log has several nodes; say the rate of a rank's network");
  }
  out.time = microseconds(median(row.us));
  return out;
}

}  // namespace

LoggedRows rows_of_log(const LogFile& log, const CalibratedDevice& device, BytesPerSec network) {
  LoggedRows out;
  for (const LogRow& row : log.rows) {
    if (row.us.empty()) continue;  // refused by the library
    if (const auto kind = collective_named(row.op)) {
      out.collectives.push_back(collective_row(*kind, row, device, network));
      continue;
    }
    KernelRow kernel;
    kernel.op = row.op, kernel.shape = row.shape, kernel.use = use_of(row);
    kernel.time = microseconds(median(row.us));
    out.kernels.push_back(kernel);
  }
  return out;
}

LoggedRows load_logs(const std::vector<std::string>& paths, const CalibratedDevice& device,
                     BytesPerSec network) {
  LoggedRows all;
  for (const std::string& path : paths) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw InputError(path, "", "cannot be read");
    std::ostringstream text;
    text << file.rdbuf();
    const LoggedRows rows = rows_of_log(parse_log(text.str(), path), device, network);
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
