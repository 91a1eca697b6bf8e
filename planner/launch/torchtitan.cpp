// torchtitan: a TOML file of train_configs; ranks come from the launcher, so from the cluster.
// toml++ 3.3 only asserts that some keys are well formed; here such a file is refused as any other.
#undef NDEBUG
#define TOML_ASSERT(expression) ((expression) ? static_cast<void>(0) : tw::preflight::malformed_toml())
namespace tw::preflight {
struct MalformedToml {};
[[noreturn]] static void malformed_toml() {
  throw MalformedToml{};
}
}  // namespace tw::preflight

#include <fmt/format.h>

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include <algorithm>

#include "planner/preflight/megatron_words.hpp"
#include "planner/preflight/option_table.hpp"
#include "topology/check.hpp"

namespace tw::preflight {
namespace {

constexpr std::string_view kName = "torchtitan";
constexpr int kMaxDepth = 16;

int likely(std::string_view path, std::string_view text) {
  if (path.ends_with(".toml")) return 90;
  return text.find("[training]") != std::string_view::npos ? 70 : 0;
}

std::string value_text(const toml::node& node) {
  if (const auto* value = node.as_string()) return value->get();
  if (const auto* value = node.as_integer()) return std::to_string(value->get());
  if (const auto* value = node.as_boolean()) return value->get() ? "true" : "false";
  if (const auto* value = node.as_floating_point()) return fmt::format("{}", value->get());
  return "";
}

void flatten(const toml::table& table, const std::string& prefix, int depth, GivenLaunch& out) {
  if (depth > kMaxDepth) return;
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (const auto* inner = node.as_table()) {
      flatten(*inner, name + ".", depth + 1, out);
    } else if (const auto* list = node.as_array()) {
      GivenOption option{name, {}};
      for (const toml::node& each : *list) option.values.push_back(value_text(each));
      out.options.push_back(std::move(option));
    } else {
      out.options.push_back({name, {value_text(node)}});
    }
  }
}

GivenLaunch read(const LaunchAsk& ask, std::string_view text) {
  GivenLaunch out;
  try {
    flatten(toml::parse(text, ask.file), "", 0, out);
  } catch (const toml::parse_error& error) {
    throw InputError(ask.file, fmt::format("line {}", error.source().begin.line),
                     std::string("is no TOML: ") + std::string(error.description()));
  } catch (const MalformedToml&) {
    throw InputError(ask.file, "", "is no TOML: a key or value is malformed");
  }
  return out;
}

std::string word(const Launch& launch, std::string_view key, std::string_view absent) {
  return setting(launch.settings, key).value_or(std::string(absent));
}

std::int32_t degree(const Launch& launch, std::string_view key) {
  const std::int32_t value = whole(launch, std::string("parallelism.") + std::string(key), 1);
  if (value < 1 || value > kLayoutLimit)
    throw InputError(launch.file, key, fmt::format("must be from 1 to {}, is {}", kLayoutLimit, value));
  return value;
}

void read_model(const LaunchAsk& ask, Launch& launch) {
  const std::string name =
      word(launch, "model.name", "llama3") + "/" + word(launch, "model.flavor", "debugmodel");
  const auto& models = *options_of(kName).table().models;
  const auto found = models.find(name);
  if (!ask.model.empty()) {
    launch.model = load_model(ask.model);
  } else if (found != models.end()) {
    launch.model = load_model(found->second);
    launch.model->mtp_layers = 0;  // no flavor trains it
  } else {
    launch.why_no_model = fmt::format("the sizes of {} are not known; give --model", printable(name));
  }
}

// Shards and replicas: -1 takes the ranks that are left.
void read_data_parallel(Launch& launch) {
  Layout& l = launch.layout;
  const std::int32_t replicas = degree(launch, "data_parallel_replicate_degree");
  std::int32_t shards = whole(launch, "parallelism.data_parallel_shard_degree", -1);
  if (l.dp == 0) return;
  if (l.dp % replicas != 0 || (shards != -1 && shards * std::int64_t{replicas} != l.dp)) {
    launch.add(
        Severity::fail, "mesh",
        fmt::format(
            "data_parallel_replicate_degree {} x data_parallel_shard_degree {} is not the {} ranks that "
            "tp {}, pp {} and cp {} leave of {}",
            replicas, shards, l.dp, l.tp, l.pp, l.cp, launch.gpus));
    l.dp = 0;
    return;
  }
  if (shards == -1) shards = l.dp / replicas;
  const bool sharded = std::int64_t{shards} * l.cp > 1;
  const std::string reshard = word(launch, "parallelism.fsdp_reshard_after_forward", "default");
  l.zero = !sharded ? 0 : reshard == "never" ? 2 : 3;
  if (sharded && replicas > 1) l.hsdp = shards;
  if (sharded && replicas > 1 && shards == 1) {
    launch.add(Severity::warn, "mesh",
               "states are cut over context parallelism alone; priced as cut over all of dp");
    l.hsdp = 0;
  }
}

struct ScheduleName {
  std::string_view theirs;
  std::uint8_t ours;
  bool looped;  // several stages a rank
};
constexpr ScheduleName kSchedules[] = {{"1F1B", kSchedule1F1B, false},
                                       {"GPipe", kScheduleGpipe, false},
                                       {"Interleaved1F1B", kScheduleInterleaved, true},
                                       {"ZBVZeroBubble", kScheduleZbV, true},
                                       {"DualPipeV", kScheduleDualpipeV, true}};

const ScheduleName* schedule_named(const std::string& name) {
  const auto same = [](std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
      return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
    });
  };
  for (const ScheduleName& each : kSchedules) {
    if (same(each.theirs, name)) return &each;
  }
  return nullptr;
}

// "layers.7" begins a stage: layers of each stage in model order.
std::vector<std::int32_t> split_at(const Launch& launch, const std::string& points, std::int32_t layers) {
  std::vector<std::int32_t> out;
  std::int32_t begun = 0;
  for (std::size_t at = 0; at < points.size();) {
    const std::size_t end = std::min(points.find_first_of(", ", at), points.size());
    const std::string point = points.substr(at, end - at);
    at = end + 1;
    if (point.empty()) continue;
    std::int64_t layer = layers;
    if (point.starts_with("layers."))
      layer = whole_of(launch.file, "pipeline_parallel_split_points", point.substr(7));
    if (layer < begun || layer > layers)
      throw InputError(
          launch.file, "pipeline_parallel_split_points",
          fmt::format("\"{}\" is not behind the one before it, or beyond the model", printable(point)));
    out.push_back(static_cast<std::int32_t>(layer) - begun);
    begun = static_cast<std::int32_t>(layer);
  }
  out.push_back(layers - begun);
  return out;
}

void read_stages(Launch& launch) {
  Layout& l = launch.layout;
  if (l.pp < 2) return;
  const std::int32_t layers = launch.model ? launch.model->layers() : 0;
  const std::string name = word(launch, "parallelism.pipeline_parallel_schedule", "1F1B");
  const ScheduleName* schedule = schedule_named(name);
  if (schedule == nullptr) {
    launch.add(Severity::warn, "cost",
               fmt::format("schedule {} is priced as interleaved 1F1B", printable(name)));
    schedule = &kSchedules[2];
  }
  l.schedule = schedule->ours;
  l.vpp = schedule->looped ? 2 : 1;
  const std::int32_t each = whole(launch, "parallelism.pipeline_parallel_layers_per_stage", 0);
  const std::string points = word(launch, "parallelism.pipeline_parallel_split_points", "");
  if (!points.empty() && layers > 0) {
    l.split = split_at(launch, points, layers);
    const auto stages = static_cast<std::int32_t>(l.split.size());
    if (stages % l.pp != 0) {
      launch.add(Severity::fail, "divisibility",
                 fmt::format("{} stages are not divisible by pipeline_parallel_degree {}", stages, l.pp));
      l.split.clear();
    } else {
      l.vpp = stages / l.pp;
    }
  } else if (each > 0 && layers > 0) {
    const std::int32_t stages = (layers + each - 1) / each;
    if (stages % l.pp != 0) {
      launch.add(Severity::fail, "divisibility",
                 fmt::format("{} stages of {} layers are not divisible by pipeline_parallel_degree {}",
                             stages, each, l.pp));
    } else {
      l.vpp = stages / l.pp;
    }
  }
  const std::int32_t chunks = l.pp * l.vpp;
  if (layers >= chunks && l.split == default_split(layers, chunks)) l.split.clear();
}

void read_recompute(Launch& launch) {
  Layout& l = launch.layout;
  const std::string mode = word(launch, "activation_checkpoint.mode", "selective");
  if (mode == "full") l.recompute.full = true;
  if (mode != "selective") return;
  const std::string option = word(launch, "activation_checkpoint.selective_ac_option", "2");
  if (option == "op") {
    l.recompute.modules = Recompute::core;
    return;
  }
  const std::int64_t every = whole_of(launch.file, "activation_checkpoint.selective_ac_option", option);
  const std::int32_t layers = launch.model ? launch.model->layers() : 0;
  const std::int64_t held = (layers + l.pp - 1) / l.pp;
  if (every < 1)
    throw InputError(launch.file, "activation_checkpoint.selective_ac_option", "must be 1 or more, or op");
  l.recompute.full = every <= held;
  l.recompute.full_layers = every == 1 ? 0 : static_cast<std::int32_t>(held / every);
}

void read_precision(Launch& launch) {
  Layout& l = launch.layout;
  const std::string converters = " " + word(launch, "model.converters", "") + " ";
  const bool float8 =
      converters.find("float8") != std::string::npos || is_on(launch.settings, "old.enable_float8_linear");
  if (float8) {
    launch.settings["is_float8"] = "true";
    const std::string recipe = word(launch, "float8.recipe_name", "tensorwise");
    l.precision = recipe == "tensorwise" ? Precision::fp8_current : Precision::fp8_row;
  }
  if (converters.find("mx") != std::string::npos) l.precision = Precision::mxfp8;
  const std::string param = word(launch, "training.mixed_precision_param", "bfloat16");
  if (param != "bfloat16")
    launch.add(Severity::warn, "precision",
               fmt::format("mixed_precision_param {} is priced as bfloat16", printable(param)));
}

// Without stages a local batch is a micro-batch; with them it is cut into micro-batches.
void read_batch(Launch& launch) {
  Layout& l = launch.layout;
  const std::int32_t local = whole(launch, "training.local_batch_size", 8);
  const std::int32_t old = whole(launch, "old.pipeline_parallel_microbatches", 0);
  l.mb = l.pp > 1 ? whole(launch, "parallelism.pipeline_parallel_microbatch_size", 1) : local;
  if (l.pp > 1 && old > 0) l.mb = std::max(local / old, 1);
  if (local < 1 || l.mb < 1) throw InputError(launch.file, "training.local_batch_size", "must be 1 or more");
  if (local % l.mb != 0) {
    launch.add(Severity::fail, "divisibility",
               fmt::format("local_batch_size {} is not divisible by pipeline_parallel_microbatch_size {}",
                           local, l.mb));
  }
  launch.seq = whole(launch, "seq_length", whole(launch, "training.seq_len", 2048));
  if (l.dp == 0) return;
  const std::int64_t once = std::int64_t{local} * l.dp;
  std::int64_t global = whole(launch, "global_batch_size", whole(launch, "training.global_batch_size", -1));
  if (global < 1) global = once;
  launch.global_batch = global;
  if (global % once != 0) {
    launch.add(
        Severity::fail, "divisibility",
        fmt::format("global_batch_size {} is not divisible by local_batch_size {} x {} data-parallel ranks",
                    global, local, l.dp));
  } else if (global > once) {
    launch.settings["accumulates"] = "true", launch.settings["accumulations"] = std::to_string(global / once);
  }
}

void understand(const LaunchAsk& ask, Launch& launch) {
  read_model(ask, launch);
  Layout& l = launch.layout;
  l.tp = degree(launch, "tensor_parallel_degree"), l.pp = degree(launch, "pipeline_parallel_degree");
  l.cp = degree(launch, "context_parallel_degree"), l.ep = degree(launch, "expert_parallel_degree");
  l.etp = l.ep > 1 ? degree(launch, "expert_tensor_parallel_degree") : 1;
  if (launch.model && launch.model->has_moe() && l.ep == 1) l.etp = l.tp;
  l.sp = l.tp > 1;
  settle_mesh(ask, launch);
  read_data_parallel(launch);
  read_stages(launch);
  read_recompute(launch);
  read_precision(launch);
  read_batch(launch);
}

// ---- writing

[[noreturn]] void refuse(std::string_view what, const std::string& why) {
  cannot_say(kName, what, why);
}

std::string flavor_of(const Model& model) {
  for (const auto& [flavor, name] : *options_of(kName).table().models) {
    if (name == model.name) return flavor;
  }
  refuse("model", fmt::format("it has no flavor with the sizes of {}", model.name));
}

void check_expressible(const ExportAsk& ask) {
  const Layout& l = ask.layout;
  if (ask.model->mtp_layers > 0) refuse("model", "multi-token prediction is not trained there");
  if (l.tp > 1 && !l.sp) refuse("sp", "sequence parallelism comes with tensor parallelism");
  if (l.zero == 1 || (l.zero == 0 && l.dp * l.cp > 1 && l.cp > 1))
    refuse("zero", "states are whole, or cut as 2 or 3");
  if (l.zero > 0 && l.dp * l.cp == 1)
    refuse("zero", "there is nothing to cut states over but copies of experts");
  if (l.cp > 1 && l.cp_kind != CpKind::zigzag) refuse("cp_kind", "context parallelism is zigzag");
  if (l.dispatch != Dispatch::direct) refuse("a2a", "exchanges are direct");
  if (l.order != AxisOrder::tp_cp_ep_dp_pp) refuse("order", "ranks are numbered tp, cp, dp, pp");
  if (l.offload != Offload::none) refuse("offload", "all states leave the device, or none");
  if (l.recompute.full && l.recompute.full_layers > 0)
    refuse("recompute", "every N-th layer, not the first N");
  if (l.recompute.modules != 0 && l.recompute.modules != Recompute::core)
    refuse("recompute", "single modules are not recomputed");
  if (ask.capacity_factor > 0) refuse("capacity factor", "experts are dropless");
  const bool moe = ask.model->has_moe();
  if (moe && l.ep == 1 && l.etp != l.tp) refuse("etp", "experts are cut as all else is while ep is 1");
  if (moe && l.ep > 1 && l.etp != 1 && l.etp != l.tp) refuse("etp", "it is 1 or tp");
  if (moe && l.ep > 1 && l.cp > l.ep) refuse("ep", "it must be cp or more");
  const Precision p = l.precision;
  if (p != Precision::bf16 && p != Precision::fp8_current && p != Precision::fp8_row && p != Precision::mxfp8)
    refuse("precision", std::string(name_of(p)));
}

std::string precision_text(const Layout& l, std::string& converters) {
  if (l.precision == Precision::bf16) return "";
  converters = l.precision == Precision::mxfp8 ? "\"mx\"" : "\"float8\"";
  if (l.precision == Precision::mxfp8) return "\n[mx]\nrecipe_name = \"mxfp8\"\n";
  return fmt::format("\n[float8]\nrecipe_name = \"{}\"\n",
                     l.precision == Precision::fp8_row ? "rowwise" : "tensorwise");
}

std::string split_points(const Layout& l, std::int32_t layers) {
  const std::vector<std::int32_t> split = l.split.empty() ? default_split(layers, l.pp * l.vpp) : l.split;
  std::string out;
  std::int32_t begun = 0;
  for (std::size_t i = 0; i + 1 < split.size(); ++i) {
    begun += split[i];
    const std::string point = begun < layers ? fmt::format("layers.{}", begun) : "norm";
    out += fmt::format("{}\"{}\"", i > 0 ? ", " : "", point);
  }
  return out;
}

std::string stages_text(const ExportAsk& ask) {
  const Layout& l = ask.layout;
  if (l.pp < 2) return "";
  for (const ScheduleName& each : kSchedules) {
    if (each.ours != l.schedule) continue;
    return fmt::format(
        "pipeline_parallel_schedule = \"{}\"\npipeline_parallel_microbatch_size = {}\n"
        "pipeline_parallel_split_points = [{}]\n",
        each.theirs, l.mb, split_points(l, ask.model->layers()));
  }
  refuse("schedule", std::string(schedule_names()[l.schedule]));
}

std::string write(const ExportAsk& ask) {
  check_expressible(ask);
  const Layout& l = ask.layout;
  const std::string flavor = flavor_of(*ask.model);
  const std::size_t slash = flavor.find('/');
  const std::int32_t shards = l.zero == 0 ? 1 : l.shard();
  const std::int64_t local = l.pp > 1 ? ask.global_batch / l.dp : l.mb;
  std::string converters;
  const std::string precision = precision_text(l, converters);
  const std::string mode = l.recompute.full ? "full" : l.recompute.modules != 0 ? "selective" : "none";
  std::string out = fmt::format(
      "# Written by trainwright export --to torchtitan, for {} GPUs (NGPU and nodes are the launcher's).\n"
      "[model]\nname = \"{}\"\nflavor = \"{}\"\nconverters = [{}]\n\n[training]\nlocal_batch_size = {}\n"
      "global_batch_size = {}\nseq_len = {}\ncompile = true\nsteps = 50\n\n[optimizer]\n"
      "implementation = \"foreach\"\n\n[parallelism]\ndata_parallel_replicate_degree = {}\n"
      "data_parallel_shard_degree = {}\nfsdp_reshard_after_forward = \"{}\"\ntensor_parallel_degree = {}\n"
      "pipeline_parallel_degree = {}\ncontext_parallel_degree = {}\nexpert_parallel_degree = {}\n",
      l.gpus(), flavor.substr(0, slash), flavor.substr(slash + 1), converters, local, ask.global_batch,
      ask.seq, l.dp / shards, shards, l.zero == 2 ? "never" : "default", l.tp, l.pp, l.cp, l.ep);
  if (ask.model->has_moe() && l.ep > 1) out += fmt::format("expert_tensor_parallel_degree = {}\n", l.etp);
  out += stages_text(ask);
  out += fmt::format("\n[activation_checkpoint]\nmode = \"{}\"\nselective_ac_option = \"op\"\n", mode);
  return out + precision + "\n[metrics]\nlog_freq = 1\n";
}

}  // namespace
}  // namespace tw::preflight

namespace tw::launch {
extern constinit const LaunchFormat torchtitan;
constinit const LaunchFormat torchtitan = {"torchtitan",
                                           20,
                                           "torchtitan: a TOML file of train_configs",
                                           preflight::likely,
                                           preflight::read,
                                           preflight::understand,
                                           preflight::write};
}  // namespace tw::launch
