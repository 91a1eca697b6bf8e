// Short real training runs of the best layouts of a plan, each beside what was predicted before it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "costmodel/prediction.hpp"
#include "topology/json.hpp"

namespace tw {

struct ConfirmSettings {
  std::string plan;  // path
  std::size_t top = 3;
  std::int64_t steps = 20, warm_up = 3;
  std::string launcher;   // empty: ours
  std::string runner;     // a command that starts somebody else's framework; empty: our trainer
  std::string target;     // of the runner: a launch format; empty: the plan's framework
  std::string data;       // empty: the seeded synthetic language
  double patience = 120;  // seconds without a step, before a run counts as hung
  std::string record;     // path of the result, written before the first run and after each; empty: none
};

struct Measured {
  double median_s = 0, p10_s = 0, p90_s = 0;  // of a step after warm-up
  std::int64_t memory_bytes = 0;              // resident, of the rank that had most
  std::vector<double> losses;
  std::vector<std::pair<std::string, double>> terms;  // seconds of a step, of the rank that takes longest
};

struct ConfirmedLayout {
  Prediction predicted;
  std::optional<Measured> measured;
  std::string failed;  // why it has none
  double ratio() const { return predicted.cost.step_seconds / measured->median_s; }
  // The steps of one run take longer than those of the other: their 10th to 90th percentiles lie apart.
  bool told_apart(const ConfirmedLayout& other) const {
    return measured->p90_s < other.measured->p10_s || other.measured->p90_s < measured->p10_s;
  }
};

struct Times {
  std::vector<double> predicted, measured;
};

struct Confirmed {
  std::string plan, model, cluster, calibration;
  std::vector<ConfirmedLayout> layouts;  // in the plan's order

  double mean_error() const;  // of those measured, relative
  double regret() const;      // measured time of the predicted best over the best, less 1
  struct Order {
    std::optional<double> kendall_tau;  // over the pairs of layouts that their runs tell apart
    std::int32_t pairs = 0, told_apart = 0;
  };
  Order order() const;
  Times times() const;  // of those measured
  bool losses_fall() const;
  bool all_ran() const;
};

// InputError of the plan; a run that fails is in the result. progress: a line about each run as it goes.
Confirmed confirm(const ConfirmSettings& settings, const std::function<void(const std::string&)>& progress);
Json to_json(const Confirmed& result);
std::string to_text(const Confirmed& result, int width);

}  // namespace tw
