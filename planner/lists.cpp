#include "planner/lists.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "costmodel/blocks/block.hpp"
#include "costmodel/collectives/algorithm.hpp"
#include "costmodel/expert_load.hpp"
#include "costmodel/expert_placement.hpp"
#include "costmodel/parameters.hpp"
#include "costmodel/profile.hpp"
#include "costmodel/schedules/schedule.hpp"
#include "planner/command.hpp"
#include "planner/size/runs.hpp"
#include "reports/text.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

Column left(const char* title, int drop = 0) {
  return {title, Align::left, drop};
}

std::string rate_text(FlopsPerSec rate) {
  return rate.value > 0 ? fmt::format("{:.4g}", in_tflops(rate)) : std::string("-");
}

Listing models() {
  Listing out{{left("name"),
               left("family"),
               {"parameters"},
               {"active"},
               {"layers"},
               {"hidden", Align::right, 2},
               {"heads", Align::right, 1},
               {"experts"},
               {"top-k", Align::right, 3},
               {"vocabulary", Align::right, 4}},
              {}};
  for (const std::string& name : scenario_names("models")) {
    const Model model = load_model(name);
    const ParameterCount count = count_parameters(model);
    const Moe* moe = model.moe();
    const Attention& attention = model.attention();
    out.rows.push_back({name, model.family, count_text(count.total), count_text(count.active),
                        std::to_string(model.layers()), std::to_string(model.hidden),
                        fmt::format("{}/{}", attention.heads, attention.kv_heads),
                        moe ? std::to_string(moe->experts) : "-", moe ? std::to_string(moe->top_k) : "-",
                        std::to_string(model.vocab)});
  }
  return out;
}

Listing clusters() {
  Listing out{{left("name"),
               left("GPU"),
               {"per node"},
               left("joined by", 1),
               {"NVLink GB/s", Align::right, 2},
               {"NICs"},
               {"GB/s each"},
               left("rails", 3),
               {"oversubscription", Align::right, 4},
               left("what it is", 5)},
              {}};
  for (const std::string& name : scenario_names("clusters")) {
    const Cluster c = load_cluster(name);
    std::string link;
    for (const auto& [value, text] : enum_names(&c.node.link)) {
      if (value == c.node.link) link = text;
    }
    const double nvlink = in_gbps(c.device.nvlink_one_way);
    out.rows.push_back({name, c.gpu, std::to_string(c.node.gpus), link,
                        nvlink > 0 ? fmt::format("{:.0f}", nvlink) : "-", std::to_string(c.node.nics),
                        fmt::format("{:.4g}", in_gbps(c.node.nic_rate)), c.network.rails ? "yes" : "no",
                        fmt::format("{:g}", c.network.oversubscription), c.title});
  }
  return out;
}

Listing gpus() {
  Listing out{{left("name"),
               {"memory"},
               {"memory GB/s"},
               {"bf16 TFLOP/s"},
               {"fp8", Align::right, 1},
               {"fp4", Align::right, 2},
               {"NVLink GB/s"},
               {"W", Align::right, 3},
               left("what it is", 4)},
              {}};
  for (const std::string& name : scenario_names("gpus")) {
    const Gpu gpu = load_gpu(name);
    const double nvlink = in_gbps(gpu.nvlink_one_way);
    out.rows.push_back({name, gib_text(gpu.memory.count), fmt::format("{:.0f}", in_gbps(gpu.memory_rate)),
                        rate_text(gpu.bf16), rate_text(gpu.fp8), rate_text(gpu.fp4),
                        nvlink > 0 ? fmt::format("{:.0f}", nvlink) : "-",
                        fmt::format("{:.0f}", gpu.power.value), gpu.title});
  }
  return out;
}

template <class List, class Print>
std::string commas(const List& list, Print print) {
  std::vector<std::string> texts;
  for (const auto& each : list) texts.push_back(print(each));
  return joined(texts);
}

Listing frameworks() {
  Listing out{{left("name"), left("schedules"), left("zero"), left("recompute", 1), left("hsdp", 2),
               left("what it is", 3)},
              {}};
  const auto same = [](const std::string& text) { return text; };
  for (const std::string& name : scenario_names("frameworks")) {
    const Profile p = load_profile(name);
    out.rows.push_back({name, commas(p.can.schedules, same),
                        commas(p.can.zero, [](std::int32_t zero) { return std::to_string(zero); }),
                        commas(p.can.recompute, same), p.can.hsdp ? "yes" : "no", p.title});
  }
  return out;
}

// Where the numbers below a node come from, each kind once.
void add_provenances(const JsonView& node, std::vector<std::string>& found) {
  if (!node.is_object()) return;
  if (const auto kind = node.find("provenance")) {
    if (std::find(found.begin(), found.end(), kind->string()) == found.end()) found.push_back(kind->string());
  }
  for (const std::string& key : node.keys()) {
    if (const auto child = node.find(key)) add_provenances(*child, found);
  }
}

std::string provenance(const JsonView& file, std::string_view part) {
  std::vector<std::string> found;
  if (const auto node = file.find(part)) add_provenances(*node, found);
  return found.empty() ? "-" : joined(found);
}

Listing calibrations() {
  Listing out{{left("name"), left("measured on"), left("date"), left("gemm"), left("experts"),
               left("attention"), left("elementwise"), left("links"), left("driver and libraries", 1)},
              {}};
  for (const std::string& name : scenario_names("calibrations")) {
    const JsonView file = load_json(scenario_path("calibrations", name));
    const auto text = [&](std::string_view key) {
      return file.find(key) ? file.at(key).string() : std::string("-");
    };
    out.rows.push_back({name, file.at("device").at("gpu").string(), text("date"), provenance(file, "gemm"),
                        provenance(file, "grouped_gemm"), provenance(file, "attention"),
                        provenance(file, "elementwise"), provenance(file, "links"), text("driver")});
  }
  return out;
}

template <class Row>
Listing registry(std::span<const Row* const> rows) {
  Listing out{{left("name"), left("what it is")}, {}};
  for (const Row* row : in_display_order(rows))
    out.rows.push_back({std::string(row->name), std::string(row->help)});
  return out;
}

Listing terms() {
  Listing out{{left("name"), left("what it is")}, {}};
  for (int i = 0; i < kTerms; ++i) {
    const auto term = static_cast<Term>(i);
    out.rows.push_back({std::string(name_of(term)), std::string(help_of(term))});
  }
  return out;
}

Listing runs() {
  Listing out{{left("name"),
               left("model"),
               left("GPU"),
               {"GPUs"},
               {"GPU-hours"},
               {"interruptions"},
               left("what it is", 1)},
              {}};
  for (const std::string& name : scenario_names("runs")) {
    const PublishedRun run = load_run(name);
    out.rows.push_back({name, run.model, run.gpu, count_text(run.gpus),
                        run.gpu_hours ? hours_text(*run.gpu_hours) : "-",
                        run.interruptions ? std::to_string(*run.interruptions) : "-", run.title});
  }
  return out;
}

Listing operations() {
  Listing out{
      {left("name"), {"hours between failures of a GPU"}, {"detection"}, {"restart"}, left("what it is", 1)},
      {}};
  for (const std::string& name : scenario_names("operations")) {
    const Operations o = load_operations(name);
    out.rows.push_back({name, hours_text(in_hours(mtbf_per_gpu(load_run(o.failures_of)))),
                        to_string(o.detect), to_string(o.restart), o.title});
  }
  return out;
}

constexpr ListKind kKinds[] = {
    {"models", "Hugging Face configs that ship, with their parameters", models},
    {"clusters", "clusters that ship; name:GPUS resizes one", clusters},
    {"gpus", "GPUs with memory, peaks and links from their data sheets", gpus},
    {"frameworks", "whose kernels and memory are priced, and what each can run", frameworks},
    {"calibrations", "what kernels and links cost, and where the numbers come from", calibrations},
    {"runs", "published training runs that results are held beside", runs},
    {"operations", "how clusters fail and restart", operations},
    {"schedules", "pipeline schedules", [] { return registry(all_schedules()); }},
    {"collectives", "algorithms of collectives", [] { return registry(all_collectives()); }},
    {"loads", "how tokens choose experts (simulate --load)", [] { return registry(all_loads()); }},
    {"placements", "which rank holds which experts (simulate --placement)",
     [] { return registry(all_placements()); }},
    {"blocks", "parts of a layer that the cost model knows", [] { return registry(all_blocks()); }},
    {"families", "model architectures (model_type of a config.json)",
     [] { return registry(all_families()); }},
    {"terms", "what the time of a step is split into", terms},
    {"commands", "of this program", [] { return registry(all_commands()); }},
};

}  // namespace

std::span<const ListKind> list_kinds() {
  return kKinds;
}

const ListKind& list_kind(const std::string& name) {
  std::vector<std::string> known;
  for (const ListKind& kind : kKinds) {
    if (kind.name == name) return kind;
    known.emplace_back(kind.name);
  }
  throw InputError("command line", "list", "\"" + printable(name) + "\" is unknown; legal: " + joined(known));
}

}  // namespace tw
