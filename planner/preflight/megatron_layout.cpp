#include <fmt/format.h>

#include <algorithm>

#include "planner/preflight/megatron_words.hpp"
#include "topology/check.hpp"

namespace tw::preflight {
namespace {

std::int32_t size_of(const Launch& launch, std::string_view key, std::int32_t absent) {
  const std::int32_t value = whole(launch, key, absent);
  if (value < 1 || value > kLayoutLimit)
    throw InputError(launch.file, key, fmt::format("must be from 1 to {}, is {}", kLayoutLimit, value));
  return value;
}

void read_states(Launch& launch) {
  const Settings& s = launch.settings;
  Layout& l = launch.layout;
  if (is_on(s, "use_distributed_optimizer")) l.zero = 1;
  if (is_on(s, "use_torch_fsdp2"))
    l.zero = setting(s, "torch_fsdp2_reshard_after_forward").value_or("true") == "false" ? 2 : 3;
  if (is_on(s, "use_megatron_fsdp")) {
    const std::string how = setting(s, "data_parallel_sharding_strategy").value_or("no_shard");
    l.zero = how == "optim_grads_params" ? 3 : how == "optim_grads" ? 2 : how == "optim" ? 1 : 0;
  }
  if (is_on(s, "optimizer_cpu_offload")) l.offload = Offload::optimizer;
}

// `instances` copies of the optimizer states over dp.
void read_instances(Launch& launch) {
  Layout& l = launch.layout;
  const std::int32_t instances = size_of(launch, "num_distributed_optimizer_instances", 1);
  if (instances == 1 || l.dp == 0) return;
  if (l.dp % instances != 0) {
    return launch.add(Severity::fail, "divisibility",
                      fmt::format("data parallel {} is not divisible by {} instances of the distributed "
                                  "optimizer",
                                  l.dp, instances));
  }
  l.hsdp = l.dp / instances;
  if (l.hsdp == l.dp) l.hsdp = 0;
  if (l.hsdp == 1) l.hsdp = 0, l.zero = 0;
}

std::vector<std::int32_t> split_with_ends(std::int32_t layers, std::int32_t chunks, bool first, bool last) {
  const std::int32_t each = (layers + (first ? 1 : 0) + (last ? 1 : 0)) / chunks;
  std::vector<std::int32_t> out(static_cast<std::size_t>(chunks), each);
  if (first) --out.front();
  if (last) --out.back();
  return out;
}

// decoder_first and decoder_last: layers of those two stages; the others share the rest.
std::vector<std::int32_t> split_with_sizes(Launch& launch, std::int32_t layers) {
  const Layout& l = launch.layout;
  const std::int32_t first = whole(launch, "decoder_first_pipeline_num_layers", 0);
  const std::int32_t last = whole(launch, "decoder_last_pipeline_num_layers", 0);
  const std::int32_t others = l.pp - (first > 0 ? 1 : 0) - (last > 0 ? 1 : 0);
  const std::int32_t rest = layers - first - last;
  const bool even = others > 0 ? rest % (others * l.vpp) == 0 && rest > 0 : rest == 0;
  if (!even || first % l.vpp != 0 || last % l.vpp != 0) {
    launch.add(
        Severity::fail, "divisibility",
        fmt::format("{} layers with {} on the first and {} on the last stage leave {} for {} stages of {} "
                    "chunks",
                    layers, first, last, rest, others, l.vpp));
    return {};
  }
  std::vector<std::int32_t> out;
  for (std::int32_t chunk = 0; chunk < l.pp * l.vpp; ++chunk) {
    const std::int32_t stage = chunk % l.pp;
    const std::int32_t own = stage == 0 && first > 0         ? first
                             : stage == l.pp - 1 && last > 0 ? last
                                                             : rest / std::max(others, 1);
    out.push_back(own / l.vpp);
  }
  return out;
}

void read_virtual_stages(Launch& launch, std::int32_t layers) {
  Layout& l = launch.layout;
  const Settings& s = launch.settings;
  if (setting(s, "num_virtual_stages_per_pipeline_rank")) {
    l.vpp = size_of(launch, "num_virtual_stages_per_pipeline_rank", 1);
    return;
  }
  if (!setting(s, "num_layers_per_virtual_pipeline_stage")) return;
  const std::int32_t each = size_of(launch, "num_layers_per_virtual_pipeline_stage", 1);
  const std::int32_t counted = layers + (is_on(s, "account_for_embedding_in_pipeline_split") ? 1 : 0) +
                               (is_on(s, "account_for_loss_in_pipeline_split") ? 1 : 0);
  if (counted % l.pp != 0 || counted / l.pp % each != 0) {
    return launch.add(Severity::fail, "divisibility",
                      fmt::format("layers {} over pp {} are not divisible by {} layers of each virtual stage",
                                  counted, l.pp, each));
  }
  l.vpp = counted / l.pp / each;
}

void read_split(Launch& launch, std::int32_t layers) {
  Layout& l = launch.layout;
  const Settings& s = launch.settings;
  const bool first = is_on(s, "account_for_embedding_in_pipeline_split"),
             last = is_on(s, "account_for_loss_in_pipeline_split");
  const std::int32_t counted = layers + (first ? 1 : 0) + (last ? 1 : 0), chunks = l.pp * l.vpp;
  const bool stated = first || last || setting(s, "decoder_first_pipeline_num_layers") ||
                      setting(s, "decoder_last_pipeline_num_layers");
  if (!stated && layers % chunks != 0 && is_on(s, "recipe_known")) {
    launch.add(
        Severity::warn, "launch",
        fmt::format("{} layers on {} chunks: the recipe's own split is not read; priced as even as can be",
                    layers, chunks));
    const bool ends = (layers + 2) % chunks == 0;
    l.split =
        ends || chunks > layers ? split_with_ends(layers, chunks, ends, ends) : default_split(layers, chunks);
    return;
  }
  if (setting(s, "decoder_first_pipeline_num_layers") || setting(s, "decoder_last_pipeline_num_layers")) {
    l.split = split_with_sizes(launch, layers);
  } else if (counted % chunks != 0) {
    launch.add(Severity::fail, "divisibility",
               fmt::format("layers {} are not divisible by pp {}{}", counted, l.pp,
                           l.vpp > 1 ? fmt::format(" x vpp {}", l.vpp) : ""));
  } else if (first || last) {
    l.split = split_with_ends(layers, chunks, first, last);
  }
}

void read_stages(Launch& launch, std::int32_t layers) {
  Layout& l = launch.layout;
  const auto named = setting(launch.settings, "pipeline_model_parallel_layout");
  if (named && is_open(*named))
    throw InputError(launch.file, "pipeline_model_parallel_layout", "is not known");
  if (named) {
    l.split = pipeline_layout(*named, launch.file);
    const auto stages = static_cast<std::int32_t>(l.split.size());
    if (stages % l.pp != 0) {
      launch.add(Severity::fail, "divisibility",
                 fmt::format("{} stages of the pipeline layout are not divisible by pp {}", stages, l.pp));
      l.split.clear();
    } else {
      l.vpp = stages / l.pp;
    }
  } else {
    read_virtual_stages(launch, layers);
    if (layers > 0) read_split(launch, layers);
  }
  if (l.vpp > 1 && l.pp > 1) l.schedule = kScheduleInterleaved;
  const std::int32_t chunks = l.pp * l.vpp;
  // An uneven default must be spelled out where stages have several chunks.
  const bool even = layers % chunks == 0 || (layers + 1) % chunks == 0 || (layers + 2) % chunks == 0;
  if (layers >= chunks && (even || l.vpp == 1) && l.split == default_split(layers, chunks)) l.split.clear();
}

std::uint8_t module_bit(Launch& launch, std::string_view name) {
  if (name == "core_attn") return Recompute::core;
  if (name == "layernorm") return Recompute::norm;
  if (name == "moe_act") return Recompute::moe_act;
  if (name == "mla_up_proj") return Recompute::mla_up;
  if (name == "mlp" || name == "moe") return Recompute::mlp;
  if (name == "shared_experts") {
    launch.add(Severity::note, "cost", "recomputed shared experts are priced as kept");
    return 0;
  }
  launch.add(Severity::fail, "options",
             fmt::format("\"{}\" is no module of recompute_modules", printable(name)));
  return 0;
}

void read_modules(Launch& launch) {
  std::string text = setting(launch.settings, "recompute_modules").value_or("core_attn");
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return c == ',' || c == '[' || c == ']' || c == '"' || c == '\''; }, ' ');
  Recompute& r = launch.layout.recompute;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (end > at)
      r.modules = static_cast<std::uint8_t>(r.modules |
                                            module_bit(launch, std::string_view(text).substr(at, end - at)));
    at = end + 1;
  }
}

// What another module contains, or the model lacks, changes nothing.
void drop_idle_modules(Launch& launch) {
  Recompute& r = launch.layout.recompute;
  const auto drop = [&](Recompute::Module module) {
    r.modules = static_cast<std::uint8_t>(r.modules & ~static_cast<unsigned>(module));
  };
  const bool moe = launch.model && launch.model->has_moe();
  const bool latent = launch.model && launch.model->attention().kind == AttentionKind::latent;
  if (!moe || (r.modules & Recompute::mlp) != 0) drop(Recompute::moe_act);
  if (!latent) drop(Recompute::mla_up);
}

void read_recompute(Launch& launch, std::int32_t layers) {
  const Settings& s = launch.settings;
  Layout& l = launch.layout;
  std::string how = setting(s, "recompute_granularity").value_or("");
  if (is_on(s, "recompute_activations")) how = "selective";
  if (how == "None" || how == "null") how = "";
  if (how == "full") {
    l.recompute.full = true;
    const std::string method = setting(s, "recompute_method").value_or("");
    if (method.empty())
      launch.add(Severity::fail, "options",
                 "recompute_granularity full needs recompute_method uniform or block");
    const std::int32_t count = whole(launch, "recompute_num_layers", 0);
    if (method == "block") {
      l.recompute.full_layers = count * l.vpp;
      if (count < 1) l.recompute = {};
      const std::int32_t most = layers > 0 ? (layers + l.pp - 1) / l.pp : 0;
      if (most > 0 && l.recompute.full_layers >= most) l.recompute.full_layers = 0;
    } else if (method == "uniform" && count > 1) {
      launch.add(Severity::note, "cost",
                 fmt::format("{} layers are recomputed as one unit; priced layer by layer", count));
    }
  } else if (how == "selective") {
    read_modules(launch);
    drop_idle_modules(launch);
  } else if (!how.empty()) {
    launch.add(Severity::fail, "options",
               fmt::format("recompute_granularity \"{}\" is refused", printable(how)));
  }
  if (is_on(s, "moe_layer_recompute") && !l.recompute.full)
    l.recompute.modules = static_cast<std::uint8_t>(l.recompute.modules | Recompute::mlp);
}

void read_precision(Launch& launch) {
  const Settings& s = launch.settings;
  Layout& l = launch.layout;
  const auto given = [&](std::string_view key) {
    const auto value = setting(s, key);
    return value && *value != "None" && *value != "null";
  };
  if (given("fp4")) l.precision = Precision::nvfp4;
  if (!given("fp8")) return;
  const std::string recipe = setting(s, "fp8_recipe").value_or("delayed");
  if (recipe == "delayed")
    l.precision = Precision::fp8_delayed;
  else if (recipe == "tensorwise")
    l.precision = Precision::fp8_current;
  else if (recipe == "blockwise")
    l.precision = Precision::fp8_block;
  else if (recipe == "mxfp8")
    l.precision = Precision::mxfp8;
  else
    launch.add(Severity::warn, "precision",
               fmt::format("fp8_recipe \"{}\" is not priced", printable(recipe)));
}

void read_exchanges(Launch& launch) {
  const Settings& s = launch.settings;
  Layout& l = launch.layout;
  const std::string comm = setting(s, "cp_comm_type").value_or("p2p");
  if (l.cp > 1 && comm == "a2a") l.cp_kind = CpKind::a2a;
  if (l.cp > 1 && comm != "a2a" && comm != "p2p" && comm != "allgather" && comm != "all_gather")
    launch.add(Severity::warn, "cost", fmt::format("cp_comm_type {} is priced as the ring", printable(comm)));
  if (l.ep > 1 && is_on(s, "moe_enable_deepep")) l.dispatch = Dispatch::dedup;
  if (is_on(s, "use_tp_pp_dp_mapping")) l.order = AxisOrder::tp_cp_ep_pp_dp;
  if (const auto factor = setting(s, "moe_expert_capacity_factor"); factor && *factor != "None") {
    char* end = nullptr;
    launch.capacity_factor = std::strtod(factor->c_str(), &end);
    if (*end != '\0' || !(launch.capacity_factor > 0))
      throw InputError(launch.file, "moe_expert_capacity_factor",
                       fmt::format("\"{}\" is not a number above 0", printable(*factor)));
  }
}

void read_batch(Launch& launch) {
  Layout& l = launch.layout;
  l.mb = size_of(launch, "micro_batch_size", 1);
  if (!setting(launch.settings, "micro_batch_size"))
    launch.add(Severity::warn, "options", "the micro-batch is not stated; 1 is assumed");
  launch.global_batch = whole(launch, "global_batch_size", 0);
  if (launch.global_batch == 0 && l.dp > 0) launch.global_batch = std::int64_t{l.dp} * l.mb;
  const char* key = setting(launch.settings, "seq_length") ? "seq_length" : "encoder_seq_length";
  launch.seq = whole(launch, key, 0);
  if (setting(launch.settings, "rampup_batch_size"))
    launch.add(Severity::note, "cost", "the batch grows (rampup_batch_size); priced at its full size");
}

}  // namespace

void settle_mesh(const LaunchAsk& ask, Launch& launch) {
  Layout& l = launch.layout;
  launch.gpus = whole(launch, "gpus", ask.cluster_gpus);
  if (launch.gpus < 1 || launch.gpus > kLayoutLimit)
    throw InputError(launch.file, "gpus",
                     fmt::format("must be from 1 to {}, is {}", kLayoutLimit, launch.gpus));
  const std::int64_t inner = std::int64_t{l.tp} * l.pp * l.cp;
  l.dp = launch.gpus % inner == 0 ? static_cast<std::int32_t>(launch.gpus / inner) : 0;
  if (l.dp == 0) {
    launch.add(Severity::fail, "mesh",
               fmt::format("{} GPUs are not divisible by tp {} x pp {} x cp {} = {}", launch.gpus, l.tp, l.pp,
                           l.cp, inner));
  }
}

void understand_layout(const LaunchAsk& ask, Launch& launch) {
  Layout& l = launch.layout;
  const std::int32_t layers = launch.model ? launch.model->layers() : 0;
  const bool moe = launch.model && launch.model->has_moe();
  l.tp = size_of(launch, "tensor_model_parallel_size", 1);
  l.pp = size_of(launch, "pipeline_model_parallel_size", 1);
  l.cp = size_of(launch, "context_parallel_size", 1);
  l.ep = size_of(launch, "expert_model_parallel_size", 1);
  const auto etp = setting(launch.settings, "expert_tensor_parallel_size");
  l.etp = etp && *etp != "None" && *etp != "null" ? size_of(launch, "expert_tensor_parallel_size", 1)
                                                  : (moe ? l.tp : 1);
  l.sp = is_on(launch.settings, "sequence_parallel") && l.tp > 1;
  settle_mesh(ask, launch);
  read_states(launch);
  read_stages(launch, layers);
  read_recompute(launch, layers);
  read_precision(launch);
  read_exchanges(launch);
  read_batch(launch);
  read_instances(launch);
}

}  // namespace tw::preflight
