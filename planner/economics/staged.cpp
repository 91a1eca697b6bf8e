#include "planner/economics/staged.hpp"

#include <algorithm>
#include <numeric>

#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

class Biller {
 public:
  Biller(std::string file, const StagedSpec& spec) : file_(std::move(file)), spec_(spec) {}

  StagedRow row(std::size_t at) const {
    const StagedRowSpec& spec = spec_.rows[at];
    const std::string path = "rows[" + std::to_string(at) + "]";
    if (spec.stages.empty()) throw InputError(file_, path + ".stages", "is empty");
    StagedRow out;
    out.name = spec.name, out.published_saving = spec.published_saving;
    out.baseline = stage(spec.baseline, path + ".baseline");
    for (std::size_t i = 0; i < spec.stages.size(); ++i) {
      out.stages.push_back(stage(spec.stages[i], path + ".stages[" + std::to_string(i) + "]"));
      out.time += out.stages.back().time, out.cost += out.stages.back().cost;
    }
    out.saving = 1 - out.cost / out.baseline.cost;
    out.break_even = break_even(out);
    return out;
  }

  DollarsPerSec price(const std::string& gpu, const std::string& path) const {
    const auto found = spec_.price_of_gpu.find(gpu);
    if (found == spec_.price_of_gpu.end())
      throw InputError(file_, path + ".gpu", "price_of_gpu has no \"" + printable(gpu) + "\"");
    if (!(found->second.value > 0)) throw InputError(file_, "price_of_gpu." + gpu, "must be more than zero");
    return found->second;
  }

 private:
  StageCostRow stage(const StageSpec& spec, const std::string& path) const {
    const DollarsPerSec price_of_one = price(spec.gpu, path);
    if (spec.gpus < 1) throw InputError(file_, path + ".gpus", "must be at least 1");
    const auto times = static_cast<std::int32_t>(spec.times.size());
    if (times != 1 && times != spec.gpus)
      throw InputError(file_, path + ".times", "must hold one time, or one for each GPU");
    StageCostRow out{spec.gpu, spec.gpus, *std::max_element(spec.times.begin(), spec.times.end()), {}, {}};
    if (!(out.time.value > 0)) throw InputError(file_, path + ".times", "must be more than zero");
    out.cost = price_of_one * out.time * static_cast<double>(spec.gpus);
    if (times != spec.gpus) return out;
    out.waiting = Dollars(0);
    for (const Seconds& time : spec.times) *out.waiting += price_of_one * (out.time - time);
    return out;
  }

  // p(first stage) / p(baseline) at which the stages cost what the baseline does, all other prices as they
  // are.
  static std::optional<double> break_even(const StagedRow& row) {
    const StageCostRow &first = row.stages.front(), &base = row.baseline;
    const Dollars left = base.cost - (row.cost - first.cost);
    if (!(left.value > 0)) return std::nullopt;
    const DollarsPerSec cheap = left / (first.time * static_cast<double>(first.gpus)),
                        dear = base.cost / (base.time * static_cast<double>(base.gpus));
    return cheap / dear;
  }

  std::string file_;
  const StagedSpec& spec_;
};

}  // namespace

StagedResult staged(const std::string& name_or_path) {
  const std::string path = scenario_path("staged", name_or_path);
  const auto spec = load<StagedSpec>(path);
  if (spec.rows.empty()) throw InputError(path, "rows", "is empty");
  const Biller biller(path, spec);
  StagedResult out{spec.title, spec.source, 0, {}};
  for (std::size_t i = 0; i < spec.rows.size(); ++i) out.rows.push_back(biller.row(i));
  out.price_ratio =
      biller.price(out.rows[0].stages[0].gpu, "rows[0]") / biller.price(out.rows[0].baseline.gpu, "rows[0]");
  return out;
}

}  // namespace tw
