// Fits the curves of a calibration to measured rows. Deterministic: the result does not depend on
// the values the file had before, so a second run changes nothing.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "calibrate/fit/minimise.hpp"
#include "calibrate/fit/rows.hpp"

namespace tw {

struct FitRow {
  std::string at;
  double measured = 0;
  std::function<double()> predict;  // with the parameters' current targets
  double floor = 0;                 // seconds: a row counts by how far it stands above
};

// Rows with a use other than "fit" judge it: then these are the rows left out, and the points stay in their
// logs.
struct FitRows {
  std::vector<FitRow> fitted, held_out;
  void add(const std::string& use, FitRow row) {
    (use == "fit" ? fitted : held_out).push_back(std::move(row));
  }
};

// Sets the targets to the minimum of the summed soft absolute log residuals and fills residuals,
// points and spread (left-out 95th percentile / 1.96, at least `least_spread`).
void fit_curve(const std::vector<Parameter>& parameters, const FitRows& rows, double least_spread,
               Evidence& evidence);

void fit_kernels(CalibrationFile& file, const std::vector<KernelRow>& rows);
// Sustained ratios by the share of GEMMs, where rows have whole layers.
void fit_mixes(CalibrationFile& file, const std::vector<KernelRow>& rows);
// What collectives and compute cost each other, where rows say.
void fit_beside(CalibrationFile& file, const std::vector<KernelRow>& rows);
// What an exchange costs inside a step, where rows say.
void fit_handover(CalibrationFile& file, const std::vector<KernelRow>& rows);
void fit_links(CalibrationFile& file, const std::vector<CollectiveRow>& measured,
               const std::vector<CollectiveRow>& published);
// Groups of the very shape that `rows` have: inside a node, or a rank on each.
void fit_tables(CalibrationFile& file, const std::vector<CollectiveRow>& rows, const std::string& source);
// A CPU's, from rows of the trainer's own run (calibrate/probes) and nothing else.
CalibrationFile fit_cpu(const MeasuredFile& rows, const Gpu& device);
// Only its curves between hosts, anew.
void fit_between_hosts(CalibrationFile& file, const std::vector<CollectiveRow>& rows,
                       const std::string& source);
// What the file's inputs say, read below `scenarios`.
void refit(CalibrationFile& file, const std::string& scenarios);

// The link rows stay in the files that `inputs` names: a calibration loads in milliseconds.
void drop_link_points(CalibrationFile& file);

// The dispatcher's choice beside every row, fitted or kept out, of one collective and group shape.
struct DispatchResiduals {
  std::string at;
  std::vector<double> residuals;  // log(predicted / measured)
};
std::vector<DispatchResiduals> dispatch_residuals(const CalibrationFile& file,
                                                  const std::vector<CollectiveRow>& rows, Bytes least);

double median(std::vector<double> values);
double percentile(std::vector<double> values, double share);  // nearest rank

}  // namespace tw
