// Exchanges on groups of the very shape that was measured, in one node or a rank on each: what was fitted
// becomes a table's points, what was kept out judges the lines between them.
#include <algorithm>
#include <cmath>

#include "calibrate/fit/fit.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

using Rows = std::vector<CollectiveRow>;

constexpr double kLeastSpread = 0.03;  // a GPU differs from the next
constexpr double kNormal95 = 1.96;     // standard deviations of a normal distribution's 95 %

struct Shape {
  Collective kind;
  std::int32_t ranks, nodes;
};

Rows of(const Rows& rows, const Shape& shape, std::string_view use) {
  Rows found;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(found), [&](const CollectiveRow& row) {
    return row.nodes == shape.nodes && row.collective == shape.kind && row.ranks == shape.ranks &&
           row.use == use;
  });
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.bytes < b.bytes; });
  return found;
}

std::vector<double> residuals(const ExchangeTable& table, const Rows& rows) {
  std::vector<double> all;
  for (const CollectiveRow& row : rows)
    all.push_back(std::abs(std::log(table_time(table, row.bytes.to_double()) / row.time)));
  return all;
}

ExchangeTable table_of(const Rows& fitted, const Rows& held_out, const Evidence& evidence) {
  ExchangeTable table;
  table.collective = fitted.front().collective, table.ranks = fitted.front().ranks;
  table.nodes = fitted.front().nodes, table.evidence = evidence;
  table.link = fitted.front().nodes > 1 ? *fitted.front().inter : fitted.front().intra;
  for (const CollectiveRow& row : fitted) {
    const Seconds time(rounded(row.time.value));
    table.sizes.push_back(row.bytes);
    table.times.push_back(table.times.empty() ? time : std::max(time, table.times.back()));
  }
  const std::vector<double> own = residuals(table, fitted), others = residuals(table, held_out);
  table.evidence.residuals =
      Residuals{static_cast<std::int32_t>(own.size()), rounded(median(own)), rounded(percentile(own, 0.95)),
                rounded(median(others)), rounded(percentile(others, 0.95))};
  table.evidence.spread =
      std::clamp(rounded(table.evidence.residuals->left_out_p95 / kNormal95), kLeastSpread, 1.0);
  return table;
}

}  // namespace

void fit_tables(CalibrationFile& file, const Rows& rows, const std::string& source) {
  file.links.tables.value.clear();
  const Evidence evidence{Provenance::measured, kLeastSpread, 0.05, source, {}, {}};
  for (const auto& [kind, name] : enum_names(static_cast<const Collective*>(nullptr))) {
    std::int32_t most = 0;
    for (const CollectiveRow& row : rows) most = std::max(most, row.ranks);
    for (std::int32_t ranks = 2; ranks <= most; ++ranks) {
      for (const std::int32_t nodes : {1, ranks}) {
        const Shape shape{kind, ranks, nodes};
        const Rows fitted = of(rows, shape, "fit"), held_out = of(rows, shape, "held_out");
        if (fitted.size() < 2) continue;
        if (held_out.empty()) throw InputError(name, "rows", "none was kept out to judge the table");
        file.links.tables.value.push_back(table_of(fitted, held_out, evidence));
      }
    }
  }
}

}  // namespace tw
