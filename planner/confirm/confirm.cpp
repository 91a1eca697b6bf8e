#include "planner/confirm/confirm.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

#include "planner/child.hpp"
#include "planner/confirm/runner.hpp"
#include "planner/plan_file.hpp"
#include "planner/validate/metrics.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

// A folder of our own under the system's, gone with this object.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "trainwright-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw InputError(name, "", "no temporary folder can be made here");
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

double at_share(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
}

std::vector<double> numbers(const JsonView& list) {
  std::vector<double> out;
  for (std::size_t i = 0; i < list.size(); ++i) out.push_back(list[i].number());
  return out;
}

Measured measured_of(const JsonView& file, std::int64_t warm_up) {
  Measured out;
  std::vector<double> steps = numbers(file.at("step_time_s"));
  const auto warm = std::min(static_cast<std::size_t>(warm_up), steps.size() - 1);
  steps.erase(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(warm));
  out.median_s = at_share(steps, 0.5), out.p10_s = at_share(steps, 0.1), out.p90_s = at_share(steps, 0.9);
  out.losses = numbers(file.at("loss"));
  out.memory_bytes = file.at("resident_bytes").integer();
  for (const std::string& term : file.at("terms_s").keys())
    out.terms.emplace_back(term, file.at("terms_s").at(term).number());
  return out;
}

// Of AdamW, falling as the width rises (Yang et al. 2022, arXiv 2203.03466). derived: 1e-3 up to a width of
// 512 is a choice with which the losses of the shipped models fall within a few steps; nothing was tuned.
double learning_rate(const Model& model) {
  return 1e-3 * std::min(1.0, 512.0 / static_cast<double>(model.hidden));
}

class Runs {
 public:
  Runs(const ConfirmSettings& settings, const PlanFile& plan, const Inputs& inputs,
       const std::function<void(const std::string&)>& progress)
      : settings_(settings),
        plan_(plan),
        inputs_(inputs),
        on_gpus_(inputs.cluster.device.architecture != "cpu"),
        learning_rate_(learning_rate(inputs.model)),
        machine_(inputs.calibration.machine()),
        progress_(progress) {}

  void run(ConfirmedLayout& layout, std::size_t index) {
    if (!settings_.runner.empty()) return run_by_runner(layout, index);
    run_by_us(layout, index);
  }

 private:
  void run_by_runner(ConfirmedLayout& layout, std::size_t index) {
    RunnerAsk ask{settings_.runner, settings_.target, scratch_.file(fmt::format("launch{}", index)), {}};
    ask.launch.model = &inputs_.model, ask.launch.layout = layout.predicted.layout;
    ask.launch.global_batch = plan_.global_batch, ask.launch.seq = plan_.seq;
    ask.launch.gpus_per_node = inputs_.cluster.node.gpus, ask.launch.capacity_factor = plan_.capacity_factor;
    ask.warm_up = settings_.warm_up;
    if (ask.target.empty()) ask.target = plan_.framework.given;
    ask.silence = settings_.patience + 20 * layout.predicted.cost.step_seconds;
    run_exported(ask, layout, progress_);
  }

  void run_by_us(ConfirmedLayout& layout, std::size_t index) {
    const std::string result = scratch_.file(fmt::format("run{}.json", index));
    const std::string status = scratch_.file(fmt::format("status{}", index));
    std::vector<std::string> argv = launcher(plan_.gpus, settings_.launcher);
    for (const std::string& each :
         {sibling(program()), std::string("--model"), plan_.model.given, std::string("--framework"),
          plan_.framework.given, std::string("--layout"), plan_.layouts[index].layout,
          std::string("--global-batch"), std::to_string(plan_.global_batch), std::string("--seq"),
          std::to_string(plan_.seq), std::string("--steps"),
          std::to_string(settings_.steps + settings_.warm_up), std::string("--learning-rate"),
          fmt::format("{}", learning_rate_), std::string("--json"), result, std::string("--status"), status})
      argv.push_back(each);
    if (!machine_.empty()) argv.insert(argv.end(), {"--machine", machine_});
    if (!settings_.data.empty()) argv.insert(argv.end(), {"--data", settings_.data});
    ChildLimits limits;
    limits.silence =
        std::chrono::duration<double>(settings_.patience + 20 * layout.predicted.cost.step_seconds);
    const ChildResult ended = run_child(argv, limits, [&](const std::string& line) { progress_(line); });
    if (ended.good()) {
      layout.measured = measured_of(load_json(result), settings_.warm_up);
      return;
    }
    if (ended.code == kRefused) throw InputError(settings_.plan, "", said(ended));
    layout.failed = why(ended, status);
  }

  static constexpr int kRefused = 2;
  std::string program() const { return on_gpus_ ? "trainwright-train-gpu" : "trainwright-train"; }
  std::string said(const ChildResult& ended) const { return said_by(program(), ended); }
  // What the run said of itself, and where each rank was.
  std::string why(const ChildResult& ended, const std::string& status) const {
    std::string out = ended.ended.empty() ? fmt::format("ended with code {}", ended.code) : ended.ended;
    if (!said(ended).empty()) out += "; " + said(ended);
    for (std::int32_t rank = 0; rank < plan_.gpus; ++rank) {
      const std::string path = fmt::format("{}.{}", status, rank);
      std::string line = std::filesystem::exists(path) ? read_file(path) : "not begun";
      line.resize(std::min(line.size(), line.find_first_of(std::string_view("\n\0", 2))));
      out += fmt::format("; rank {}: {}", rank, printable(line, 200));
    }
    return out;
  }

  const ConfirmSettings& settings_;
  const PlanFile& plan_;
  const Inputs& inputs_;
  bool on_gpus_;
  double learning_rate_;
  std::string machine_;  // that the calibration was measured on; empty: any
  const std::function<void(const std::string&)>& progress_;
  Scratch scratch_;
};

}  // namespace

Confirmed confirm(const ConfirmSettings& settings, const std::function<void(const std::string&)>& progress) {
  const PlanFile plan = load_plan(settings.plan);
  const Inputs inputs = load_inputs(asked_of(plan));
  const Problem problem(inputs, plan.gpus);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  Confirmed out{settings.plan, inputs.model.name, inputs.cluster.name, inputs.calibration.name(), {}};
  const std::size_t count = std::min(settings.top, plan.layouts.size());
  for (std::size_t i = 0; i < count; ++i)
    out.layouts.push_back({predict(evaluator, parse_layout(plan.layouts[i].layout, plan.gpus)), {}, {}});
  const auto record = [&] {
    if (!settings.record.empty()) write_file(settings.record, to_json(out).dump() + "\n");
  };
  record();
  Runs runs(settings, plan, inputs, progress);
  for (std::size_t i = 0; i < count; ++i) {
    progress(fmt::format("run {} of {}: {}, predicted {:.1f} ms", i + 1, count, plan.layouts[i].layout,
                         in_ms(Seconds(out.layouts[i].predicted.cost.step_seconds))));
    runs.run(out.layouts[i], i);
    record();
  }
  return out;
}

bool Confirmed::all_ran() const {
  return std::all_of(layouts.begin(), layouts.end(),
                     [](const ConfirmedLayout& l) { return l.measured.has_value(); });
}

double Confirmed::mean_error() const {
  std::vector<double> ratios;
  for (const ConfirmedLayout& each : layouts) {
    if (each.measured) ratios.push_back(each.ratio());
  }
  return validate::mean_error(ratios).value_or(0);
}

Times Confirmed::times() const {
  Times out;
  for (const ConfirmedLayout& each : layouts) {
    if (!each.measured) continue;
    out.predicted.push_back(each.predicted.cost.step_seconds),
        out.measured.push_back(each.measured->median_s);
  }
  return out;
}

double Confirmed::regret() const {
  const Times all = times();
  return validate::top1_regret(all.predicted, all.measured).value_or(0);
}

Confirmed::Order Confirmed::order() const {
  Order out;
  validate::PairCounts counts;
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const ConfirmedLayout &a = layouts[i], &b = layouts[j];
      if (!a.measured || !b.measured) continue;
      ++out.pairs;
      if (!a.told_apart(b)) continue;
      ++out.told_apart;
      counts +=
          validate::count_pairs(std::array{a.predicted.cost.step_seconds, b.predicted.cost.step_seconds},
                                std::array{a.measured->median_s, b.measured->median_s});
    }
  }
  out.kendall_tau = validate::kendall_tau(counts);
  return out;
}

// The mean of the last fifth of the steps below that of the first.
bool Confirmed::losses_fall() const {
  for (const ConfirmedLayout& each : layouts) {
    if (!each.measured) continue;
    const std::vector<double>& all = each.measured->losses;
    const auto n = static_cast<std::ptrdiff_t>(std::max<std::size_t>(all.size() / 5, 1));
    double first = 0, last = 0;
    for (std::ptrdiff_t i = 0; i < n; ++i)
      first += all[static_cast<std::size_t>(i)], last += *(all.end() - 1 - i);
    if (!(last < first)) return false;
  }
  return true;
}

}  // namespace tw
