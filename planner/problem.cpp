#include "planner/problem.hpp"

#include <fmt/format.h>

#include <charconv>

#include "costmodel/program/routing.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

constexpr std::int64_t kMostBatch = 1 << 30;
constexpr std::int32_t kMostSeq = 1 << 30;

[[noreturn]] void fail(std::string_view option, const std::string& message) {
  throw InputError("command line", option, message);
}

void need(std::string_view option, const std::string& value, std::string_view example) {
  if (value.empty()) fail(option, fmt::format("is empty; give one such as {}", example));
}

Bytes parse_headroom(const std::string& text) {
  const Parsed<Bytes> parsed = parse_unit<Bytes>(text);
  if (!parsed.value) fail("--headroom", fmt::format("\"{}\": {}", printable(text), parsed.error));
  if (parsed.value->count < 0) fail("--headroom", "must not be negative");
  return *parsed.value;
}

EvaluatorSettings settings_of(const Asked& asked, const Cluster& cluster, const Calibration& calibration) {
  EvaluatorSettings out;
  out.headroom = parse_headroom(asked.headroom);
  if (out.headroom >= cluster.device.memory) {
    fail("--headroom", fmt::format("{} leaves nothing of the {} of {}", asked.headroom,
                                   to_string(cluster.device.memory), cluster.gpu));
  }
  constexpr double kMostLoad = 4096;
  if (asked.expert_load.empty() || asked.expert_load == kFreshRouters)
    out.routing.likeness = calibration.likeness();
  else
    out.routing.max_over_mean = decimal("--expert-load", asked.expert_load, 1, kMostLoad);
  if (asked.expert_load == kFreshRouters && out.routing.likeness == 0) out.routing.likeness = kFreshLikeness;
  if (!asked.capacity_factor.empty()) {
    out.routing.capacity_factor = decimal("--capacity-factor", asked.capacity_factor, 0.01, kMostLoad);
  }
  return out;
}

}  // namespace

std::int64_t whole_number(std::string_view option, std::string_view text, std::int64_t low,
                          std::int64_t high) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty() || value < low ||
      value > high) {
    fail(option, fmt::format("\"{}\" is not a whole number from {} to {}", printable(text), low, high));
  }
  return value;
}

double decimal(std::string_view option, std::string_view text, double low, double high) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty() ||
      !(value >= low && value <= high)) {
    fail(option, fmt::format("\"{}\" is not a number from {} to {}", printable(text), low, high));
  }
  return value;
}

Inputs load_inputs(const Asked& asked) {
  need("--model", asked.model, "llama-3.1-8b or the path of a config.json");
  return load_inputs(asked, load_model(asked.model));
}

Inputs load_inputs(const Asked& asked, Model model) {
  need("--cluster", asked.cluster, "h100-sxm:64 or the path of a cluster file");
  const std::int64_t batch = whole_number("--global-batch", asked.global_batch, 1, kMostBatch);
  const auto seq = static_cast<std::int32_t>(whole_number("--seq", asked.seq, 1, kMostSeq));
  const Precision precision = parse_precision(asked.precision);
  const bool any = asked.framework == "any";
  if (asked.framework.empty()) fail("--framework", "is empty; give a name such as megatron, or any");
  Cluster cluster = load_cluster(asked.cluster);
  Profile profile = load_profile(any ? std::string_view("megatron") : std::string_view(asked.framework));
  Calibration calibration = load_calibration(
      asked.calibration.empty() ? std::string_view(cluster.calibration) : asked.calibration, cluster);
  const EvaluatorSettings settings = settings_of(asked, cluster, calibration);
  if (const std::string why = unpriced_because(precision, cluster.device, calibration); !why.empty()) {
    fail("--precision", why);
  }
  return {std::move(model),
          std::move(cluster),
          std::move(profile),
          std::move(calibration),
          batch,
          seq,
          precision,
          any,
          settings};
}

Problem::Problem(const Inputs& in, std::int32_t gpus)
    : inputs(in),
      cluster(resized(in.cluster, gpus)),
      fabric(cluster),
      job{&in.model, in.global_batch, in.seq, gpus, in.training},
      machine{&cluster, &fabric, &in.calibration, &in.profile} {}

Question question_of(const Problem& problem) {
  const Inputs& in = problem.inputs;
  Question out;
  out.model = in.model.name, out.cluster = problem.cluster.name;
  out.calibration = in.calibration.name(), out.framework = in.any_framework ? "any" : in.profile.name;
  out.calibration_source = name_of(in.calibration.provenance());
  out.precision = name_of(in.precision);
  out.global_batch = in.global_batch, out.seq = in.seq, out.gpus = problem.job.gpus;
  out.gpus_per_node = problem.cluster.node.gpus, out.nics_per_node = problem.cluster.node.nics;
  out.headroom = in.settings.headroom, out.routing = in.settings.routing;
  return out;
}

}  // namespace tw
