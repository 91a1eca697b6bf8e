#include "planner/preflight/check.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "costmodel/layout/legality.hpp"
#include "costmodel/price.hpp"
#include "planner/plan_file.hpp"
#include "planner/preflight/option_table.hpp"
#include "reports/text.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw::preflight {
namespace {

std::string text(std::int64_t value) {
  return std::to_string(value);
}

bool dropout_is_on(const Settings& s) {
  for (const char* key : {"attention_dropout", "hidden_dropout"}) {
    const auto value = setting(s, key);
    if (!value || (*value != "0" && *value != "0.0" && *value != "0.")) return true;
  }
  return false;
}

// Settings, and what was understood of them under short names.
Settings facts_of(const Launch& launch, const Cluster& cluster) {
  Settings out = launch.settings;
  const Layout& l = launch.layout;
  out["tp"] = text(l.tp), out["pp"] = text(l.pp), out["cp"] = text(l.cp), out["dp"] = text(l.dp);
  out["ep"] = text(l.ep), out["etp"] = text(l.etp), out["vpp"] = text(l.vpp), out["sp"] = l.sp ? "1" : "0";
  out["zero"] = text(l.zero), out["gpus"] = text(launch.gpus), out["mb"] = text(l.mb);
  out["architecture"] = cluster.device.architecture;
  out["use_dropout"] = dropout_is_on(launch.settings) ? "true" : "false";
  out["schedule"] = std::string(schedule_names()[l.schedule]);
  if (launch.seq > 0) out["seq_length"] = text(launch.seq);
  if (launch.global_batch > 0) out["global_batch"] = text(launch.global_batch);
  if (l.dp > 0) out["microbatches"] = text(launch.global_batch / (std::int64_t{l.dp} * l.mb));
  const Moe* moe = launch.model ? launch.model->moe() : nullptr;
  out["experts"] = moe ? text(moe->experts) : "0";
  out["local_experts"] = moe ? text(moe->experts / std::max(l.ep, 1)) : "0";
  if (launch.model && launch.model->attention().kind == AttentionKind::grouped)
    out["kv_heads"] = text(launch.model->attention().kv_heads);
  return out;
}

Json at_path(const std::string& path, double value) {
  const std::size_t slash = path.find('/');
  if (slash == std::string::npos) return Json::object().set(path, Json(static_cast<std::int64_t>(value)));
  return Json::object().set(path.substr(0, slash), at_path(path.substr(slash + 1), value));
}

// Findings of the target's rules, and the profile with what the options change of it.
Profile apply_rules(Launch& launch, const Settings& facts, const OptionTable& table,
                    const std::string& asked) {
  const std::vector<const Rule*> rules = holding(table, facts);
  std::string name = launch.framework;
  for (const Rule* rule : rules) {
    if (!rule->framework->empty()) name = *rule->framework;
    if (rule->text->empty()) continue;
    const Severity severity = *rule->verdict == "fail"   ? Severity::fail
                              : *rule->verdict == "warn" ? Severity::warn
                                                         : Severity::note;
    launch.add(severity, *rule->about, filled(*rule->text, facts));
  }
  if (!asked.empty()) name = asked;
  launch.framework = name;
  const std::string path = scenario_path("frameworks", name == "any" ? "megatron" : name);
  JsonView file = load_json(path);
  for (const Rule* rule : rules) {
    if (rule->profile) file = overlaid(file, *rule->profile);
    for (const auto& [where, key] : *rule->numbers) {
      const auto value = static_cast<double>(whole_of(launch.file, key, facts.find(key)->second));
      file = overlaid(file, parse_json(at_path(where, value).dump(), launch.file));
    }
  }
  Profile profile = profile_of(file);
  profile.name = load_profile(path).name;
  return profile;
}

bool names_gpus(const std::string& cluster) {
  const std::size_t colon = cluster.rfind(':');
  return colon != std::string::npos && colon + 1 < cluster.size() &&
         cluster.find_first_not_of("0123456789", colon + 1) == std::string::npos;
}

// An NVLink domain of several hosts: launchers count the GPUs of a host.
bool spans_hosts(const Cluster& cluster) {
  return !cluster.node.also_used_as->empty();
}

// The ranks that the file starts against the GPUs that the cluster has.
void compare_gpus(Launch& launch, const Cluster& cluster, bool stated) {
  if (setting(launch.settings, "gpus") && stated && launch.gpus != cluster.gpus) {
    const bool more = launch.gpus > cluster.gpus;
    launch.add(more ? Severity::fail : Severity::warn, "gpus",
               fmt::format("the launch starts {} ranks, the cluster has {} GPUs{}", launch.gpus, cluster.gpus,
                           more ? "" : "; the others stay idle"));
  }
  const std::int32_t per_node = whole(launch, "gpus_per_node", 0);
  if (per_node > cluster.node.gpus) {
    launch.add(Severity::fail, "gpus",
               fmt::format("{} ranks on each node, which has {} GPUs", per_node, cluster.node.gpus));
  } else if (per_node > 0 && per_node < cluster.node.gpus && launch.gpus > per_node &&
             !spans_hosts(cluster)) {
    launch.add(Severity::warn, "gpus",
               fmt::format("{} ranks on each node of {} GPUs; priced as if nodes were filled", per_node,
                           cluster.node.gpus));
  }
}

// Choices that only spell the same layout otherwise.
void drop_idle_keys(Layout& l, const Model& model) {
  const std::int64_t wide = std::int64_t{l.dp} * l.cp;
  const bool moe = model.has_moe();
  const bool experts_fold = moe && wide * l.tp % (std::int64_t{l.ep} * l.etp) == 0 && l.edp() > 1;
  if (l.zero > 0 && wide == 1 && !experts_fold) l.zero = 0;
  if (l.zero == 0 || l.hsdp >= l.dp) l.hsdp = 0;
  if (l.order == AxisOrder::tp_cp_ep_pp_dp && (l.pp == 1 || l.dp == 1)) l.order = AxisOrder::tp_cp_ep_dp_pp;
  if (l.pp == 1) l.schedule = kSchedule1F1B;
  if (l.cp == 1) l.cp_kind = CpKind::zigzag;
  if (l.ep == 1) l.dispatch = Dispatch::direct;
}

bool about_division(std::string_view rule) {
  constexpr std::string_view kMesh[] = {"gpus",         "folding", "vpp",           "schedule_pp",
                                        "schedule_vpp", "order",   "order_experts", "hsdp",
                                        "hsdp_zero",    "dense",   "zero"};
  return std::find(std::begin(kMesh), std::end(kMesh), rule) == std::end(kMesh);
}

bool is_legal_here(Launch& launch, const Job& job) {
  const int rule = first_broken_rule(launch.layout, job);
  if (rule < 0) return true;
  launch.add(Severity::fail, about_division(rule_name(rule)) ? "divisibility" : "mesh",
             illegal_because(launch.layout, job));
  return false;
}

void judge_sampler(Launch& launch, Inputs& inputs) {
  const std::int32_t dp = launch.layout.dp, ranks = launch.sampler_ranks;
  if (ranks == 0 || ranks == dp) return;
  if (ranks > dp || dp % ranks != 0) {
    return launch.add(
        Severity::fail, "sampler",
        fmt::format("the sampler cuts the data for {} ranks, the mesh has {} data-parallel ones", ranks, dp));
  }
  inputs.training.repeats = dp / ranks;
  launch.add(
      Severity::warn, "sampler",
      fmt::format("{} data-parallel ranks read {} different samples: each token is trained on {} times, and "
                  "logged tokens are {} times the unique ones",
                  dp, ranks, dp / ranks, dp / ranks));
}

void need_job(const Launch& launch) {
  if (!launch.model) throw InputError(launch.file, "model", launch.why_no_model);
  if (launch.seq < 1) throw InputError(launch.file, "seq_length", "is not stated; give --seq");
}

CheckResult result_of(const Launch& launch, const OptionTable& table, std::string_view format) {
  CheckResult out;
  out.launch = launch.file, out.format = format, out.commit = table.commit;
  out.options = launch.options;
  return out;
}

// The mesh is right; what does it cost?
void price(const CheckAsk& ask, Launch& launch, Inputs inputs, CheckResult& result) {
  judge_sampler(launch, inputs);
  const Priced priced(std::move(inputs), launch.gpus);
  result.question = question_of(priced.problem);
  result.layout = launch.layout;
  if (!is_legal_here(launch, priced.problem.job)) return;
  judge_layout(priced, launch.layout, result);
  if (ask.search) search_better(priced, launch.layout, result);
}

}  // namespace

CheckResult check_launch(const CheckAsk& ask) {
  const std::string content = read_file(ask.launch.file);
  const LaunchFormat& format = launch_format(ask.format, ask.launch.file, content);
  const OptionTable& table = options_of(format.name).table();
  const Cluster cluster = load_cluster(ask.asked.cluster);
  LaunchAsk own = ask.launch;
  own.cluster_gpus = cluster.gpus, own.gpus_per_node = cluster.node.gpus;
  Launch launch = read_launch(own, content, format);
  need_job(launch);
  compare_gpus(launch, cluster, names_gpus(ask.asked.cluster));
  Profile profile = apply_rules(launch, facts_of(launch, cluster), table, ask.asked.framework);
  CheckResult result = result_of(launch, table, format.name);
  if (launch.layout.dp > 0 && launch.global_batch > 0) {
    Asked asked = ask.asked;
    asked.framework = launch.framework, asked.precision = "bf16";
    asked.global_batch = text(launch.global_batch), asked.seq = text(launch.seq);
    if (launch.capacity_factor > 0) asked.capacity_factor = fmt::format("{}", launch.capacity_factor);
    Inputs inputs = load_inputs(asked, *launch.model);
    inputs.profile = std::move(profile), inputs.precision = launch.layout.precision;
    drop_idle_keys(launch.layout, *launch.model);
    result.findings = std::move(launch.findings);
    launch.findings.clear();
    const std::string unpriced =
        unpriced_because(inputs.precision, inputs.cluster.device, inputs.calibration);
    if (!unpriced.empty()) {
      launch.add(Severity::fail, "precision", unpriced);
    } else {
      judge_precision(inputs, launch.layout, result);
      price(ask, launch, std::move(inputs), result);
    }
  }
  result.findings.insert(result.findings.end(), launch.findings.begin(), launch.findings.end());
  return result;
}

CheckResult check_plan(const std::string& plan, std::size_t place, bool search) {
  const PlanFile file = load_plan(plan);
  if (place < 1 || place > file.layouts.size()) {
    throw InputError(plan, "layouts", fmt::format("has {} layouts, not {}", file.layouts.size(), place));
  }
  const Priced priced(load_inputs(asked_of(file)), file.gpus);
  const Layout layout = parse_layout(file.layouts[place - 1].layout, file.gpus);
  CheckResult result;
  result.launch = plan, result.format = "plan";
  result.question = question_of(priced.problem), result.layout = layout;
  judge_precision(priced.inputs, layout, result);
  judge_layout(priced, layout, result);
  if (search) search_better(priced, layout, result);
  return result;
}

}  // namespace tw::preflight
