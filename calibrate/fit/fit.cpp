#include "calibrate/fit/fit.hpp"

#include <algorithm>
#include <cmath>

#include "calibrate/fit/logs.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

constexpr int kStarts = 6;
constexpr double kSoft = 0.02;      // below it a residual counts squared: repeats differ by that
constexpr double kNormal95 = 1.96;  // standard deviations of a normal distribution's 95 %

double residual(const FitRow& row) {
  return std::log((row.predict() + row.floor) / (row.measured + row.floor));
}

double loss(const std::vector<FitRow>& rows, std::size_t left_out) {
  double sum = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double weight = rows[i].measured / (rows[i].measured + rows[i].floor);
    if (i != left_out) sum += weight * std::hypot(residual(rows[i]), kSoft);
  }
  return sum;
}

std::vector<double> magnitudes(const std::vector<FitRow>& rows) {
  std::vector<double> all;
  for (const FitRow& row : rows) all.push_back(std::abs(residual(row)));
  return all;
}

std::vector<double> left_out_residuals(const std::vector<Parameter>& parameters,
                                       const std::vector<FitRow>& rows, const std::vector<double>& best) {
  std::vector<double> all;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    descend(
        parameters, [&] { return loss(rows, i); }, best);
    all.push_back(std::abs(residual(rows[i])));
  }
  return all;
}

}  // namespace

double percentile(std::vector<double> values, double share) {
  TW_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::max<std::size_t>(rank, 1) - 1];
}

double median(std::vector<double> values) {
  return percentile(std::move(values), 0.5);
}

void fit_curve(const std::vector<Parameter>& parameters, const FitRows& all_rows, double least_spread,
               Evidence& evidence) {
  const std::vector<FitRow>& rows = all_rows.fitted;
  const Minimum best = minimise(
      parameters, [&] { return loss(rows, rows.size()); }, kStarts);
  const bool judged = !all_rows.held_out.empty();
  std::vector<double> left_out;
  if (!judged) left_out = left_out_residuals(parameters, rows, best.at);
  set_targets(parameters, best.at);
  for (const Parameter& each : parameters) *each.target = rounded(*each.target);
  const std::vector<double> all = magnitudes(rows);
  if (judged) left_out = magnitudes(all_rows.held_out);
  evidence.residuals =
      Residuals{static_cast<std::int32_t>(rows.size()), rounded(median(all)), rounded(percentile(all, 0.95)),
                rounded(median(left_out)), rounded(percentile(left_out, 0.95))};
  evidence.spread = std::clamp(rounded(evidence.residuals->left_out_p95 / kNormal95), least_spread, 1.0);
  evidence.points.value.clear();
  if (judged) return;
  for (const FitRow& row : rows) {
    evidence.points.value.push_back({row.at, Seconds(row.measured), Seconds(rounded(row.predict()))});
  }
}

void refit(CalibrationFile& file, const std::string& scenarios) {
  const auto rows = [&](const std::string& name) { return load<MeasuredFile>(scenarios + "/" + name); };
  const FitInputs& inputs = *file.inputs;
  std::vector<std::string> logs;
  for (const std::string& name : *inputs.logs) logs.push_back(scenarios + "/" + name);
  const LoggedRows own = load_logs(logs, file.device, *inputs.network);
  fit_kernels(file, overlaid(*rows(inputs.kernels).kernels, own.kernels));
  fit_mixes(file, own.kernels);
  fit_beside(file, own.kernels);
  fit_handover(file, own.kernels);
  fit_links(file, *rows(inputs.collectives).collectives, *rows(inputs.published).collectives);
  std::string source = "measured: medians of bursts of";
  for (const std::string& name : *inputs.logs) source += " scenarios/" + name;
  const bool network = std::any_of(own.collectives.begin(), own.collectives.end(),
                                   [](const CollectiveRow& row) { return row.nodes > 1; });
  if (network) fit_between_hosts(file, own.collectives, source);
  fit_tables(file, own.collectives, source);
}

}  // namespace tw
