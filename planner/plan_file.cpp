#include "planner/plan_file.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

// FNV-1a, 64 bits (Fowler, Noll, Vo): notices a change, proves nothing about intent.
std::string hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return fmt::format("fnv1a-64:{:016x}", hash);
}

bool is_path(const std::string& given) {
  return given.find('/') != std::string::npos || given.ends_with(".json");
}

std::string lasting(const std::string& given) {
  return is_path(given) ? std::filesystem::absolute(given).lexically_normal().string() : given;
}

PlanSource file_source(std::string_view kind, const std::string& given, const std::string& file) {
  return {lasting(given), hash_of(read_file(scenario_path(kind, file)))};
}

// The cluster as read, with its GPU, whatever files they stood in.
std::string content_of(const Cluster& cluster) {
  Cluster any_size = cluster;
  any_size.gpus = 0;
  return to_json(any_size).dump() + to_json(cluster.device).dump();
}

std::string framework_file(const std::string& given) {
  return given == "any" ? "megatron" : given;
}

struct Sources {
  PlanSource model, cluster, calibration, framework;
};

Sources sources_of(const Asked& asked, const Inputs& inputs) {
  const std::string calibration = asked.calibration.empty() ? inputs.cluster.calibration : asked.calibration;
  const std::size_t colon = asked.cluster.rfind(':');
  const std::string cluster = colon == std::string::npos ? asked.cluster : asked.cluster.substr(0, colon);
  return {file_source("models", asked.model, asked.model),
          {lasting(cluster), hash_of(content_of(inputs.cluster))},
          file_source("calibrations", calibration, calibration),
          file_source("frameworks", asked.framework, framework_file(asked.framework))};
}

void check_unchanged(const JsonView& file, std::string_view key, const PlanSource& was,
                     const PlanSource& is) {
  if (was.content == is.content) return;
  file.at(key).at("content").fail(
      fmt::format("{} has changed since this plan was made; plan again", printable(was.given)));
}

void check_layouts(const JsonView& file, const PlanFile& plan, const Inputs& inputs) {
  if (plan.layouts.empty()) file.at("layouts").fail("holds no layout");
  const Job job{&inputs.model, plan.global_batch, plan.seq, plan.gpus};
  for (std::size_t i = 0; i < plan.layouts.size(); ++i) {
    const JsonView node = file.at("layouts")[i].at("layout");
    std::string why;
    try {
      why = illegal_because(parse_layout(plan.layouts[i].layout, plan.gpus), job);
    } catch (const InputError& error) {
      why = error.what();
    }
    if (!why.empty()) node.fail(why);
  }
}

}  // namespace

PlanFile plan_file(const Asked& asked, const Inputs& inputs, const PlanResult& result) {
  const CountResult& answer = result.counts[result.answer];
  const Sources sources = sources_of(asked, inputs);
  PlanFile out;
  out.model = sources.model, out.cluster = sources.cluster;
  out.calibration = sources.calibration, out.framework = sources.framework;
  out.gpus = answer.gpus, out.global_batch = inputs.global_batch, out.seq = inputs.seq;
  out.precision = name_of(inputs.precision), out.headroom = inputs.settings.headroom;
  const Routing& routing = inputs.settings.routing;
  out.expert_load = routing.likeness > 0 ? 0 : routing.max_over_mean;
  out.capacity_factor = inputs.settings.routing.capacity_factor;
  out.fresh_routers = asked.expert_load == kFreshRouters;
  out.objective = result.objective, out.fixed = result.fixed;
  for (const Prediction& p : answer.best) {
    out.layouts.push_back({to_string(p.layout), Seconds(p.cost.step_seconds), Seconds(p.low_seconds),
                           Seconds(p.high_seconds), Bytes(p.cost.memory.total())});
  }
  return out;
}

Asked asked_of(const PlanFile& plan) {
  Asked out;
  out.model = plan.model.given, out.cluster = fmt::format("{}:{}", plan.cluster.given, plan.gpus);
  out.calibration = plan.calibration.given, out.framework = plan.framework.given;
  out.global_batch = std::to_string(plan.global_batch), out.seq = std::to_string(plan.seq);
  out.precision = plan.precision, out.headroom = to_string(plan.headroom);
  out.expert_load = plan.expert_load > 0 ? fmt::format("{}", plan.expert_load) : "";
  if (*plan.fresh_routers) out.expert_load = kFreshRouters;
  out.capacity_factor = plan.capacity_factor > 0 ? fmt::format("{}", plan.capacity_factor) : "";
  return out;
}

const PlannedLayout& planned_layout(const PlanFile& plan, std::string_view option, std::string_view place) {
  constexpr std::int64_t kMostPlaces = 500;
  const auto at = static_cast<std::size_t>(whole_number(option, place, 1, kMostPlaces));
  if (at > plan.layouts.size())
    throw InputError("command line", option,
                     fmt::format("{}: the plan has {} layouts", at, plan.layouts.size()));
  return plan.layouts[at - 1];
}

PlanFile load_plan(const std::string& path) {
  const JsonView file = load_json(path);
  const auto plan = read<PlanFile>(file);
  if (plan.schema != kPlanFileSchema) {
    file.at("schema").fail(
        fmt::format("\"{}\" cannot be read; legal: {}", printable(plan.schema), kPlanFileSchema));
  }
  const Asked asked = asked_of(plan);
  const Inputs inputs = load_inputs(asked);
  const Sources now = sources_of(asked, inputs);
  check_unchanged(file, "model", plan.model, now.model);
  check_unchanged(file, "cluster", plan.cluster, now.cluster);
  check_unchanged(file, "calibration", plan.calibration, now.calibration);
  check_unchanged(file, "framework", plan.framework, now.framework);
  check_layouts(file, plan, inputs);
  return plan;
}

}  // namespace tw
