// DeepSpeed: its JSON file, alone or named (or written) by the script that starts Megatron-DeepSpeed or a
// Hugging Face trainer.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "planner/preflight/command_line.hpp"
#include "planner/preflight/export_script.hpp"
#include "planner/preflight/megatron_words.hpp"
#include "planner/preflight/option_table.hpp"
#include "topology/check.hpp"

namespace tw::preflight {
namespace {

constexpr std::string_view kName = "deepspeed";

int likely(std::string_view path, std::string_view text) {
  const auto has = [&](std::string_view word) { return text.find(word) != std::string_view::npos; };
  if (path.ends_with(".json")) return has("zero_optimization") || has("train_batch_size") ? 90 : 40;
  if (path.ends_with(".toml")) return 0;
  return has("deepspeed") || has("ds_config") ? 80 : 0;
}

std::string scalar(const JsonView& node) {
  if (node.is_string()) return node.string();
  if (node.is_bool()) return node.boolean() ? "true" : "false";
  if (node.is_integer()) return std::to_string(node.integer());
  if (!node.is_number()) return node.dump();
  const double value = node.number();
  constexpr double kMostWhole = 9007199254740992;
  if (std::floor(value) == value && std::abs(value) < kMostWhole)
    return std::to_string(static_cast<std::int64_t>(value));
  return fmt::format("{}", value);
}

void flatten(const JsonView& node, const std::string& prefix, GivenLaunch& out) {
  for (const std::string& key : node.keys()) {
    const JsonView value = node.at(key);
    if (value.is_object() && value.size() > 0)
      flatten(value, prefix + key + ".", out);
    else if (!value.is_object())
      out.options.push_back({prefix + key, {scalar(value)}});
  }
}

// The JSON file that --deepspeed_config, or --deepspeed, names: written by the script, or beside it; empty
// where it is neither.
std::string config_of(const LaunchAsk& ask, const TrainingCommand& command, const std::string& name) {
  const auto written = command.documents.find(name);
  if (written != command.documents.end()) return written->second;
  namespace fs = std::filesystem;
  for (const fs::path& path : {fs::path(name), fs::path(ask.file).parent_path() / name,
                               fs::path(ask.file).parent_path() / fs::path(name).filename()}) {
    std::error_code error;
    if (fs::is_regular_file(path, error)) return read_file(path.string());
  }
  return "";
}

GivenLaunch read_script(const LaunchAsk& ask, std::string_view text) {
  TrainingCommand command = training_command(ask, text);
  GivenLaunch out{{}, std::move(command.settings), std::move(command.findings)};
  std::string config;
  for (GivenOption& option : dashed_options(command.words, out.findings)) {
    const bool names = option.name == "--deepspeed" || option.name == "--deepspeed_config" ||
                       option.name == "--deepspeed-config";
    if (names && !option.values.empty()) config = option.values[0], option.name = "--deepspeed_config";
    out.options.push_back(std::move(option));
  }
  if (config.empty()) return out;
  const std::string text_of_config = config_of(ask, command, config);
  if (text_of_config.empty()) {
    out.findings.push_back(
        {Severity::warn, "launch",
         fmt::format("\"{}\" is neither here nor beside the script: its ZeRO stage and batch are not "
                     "known",
                     printable(config))});
  } else {
    flatten(parse_json(text_of_config, config), "", out);
  }
  return out;
}

GivenLaunch read(const LaunchAsk& ask, std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') return read_script(ask, text);
  GivenLaunch out;
  flatten(parse_json(text, ask.file), "", out);
  return out;
}

// "auto" is the trainer's to fill.
std::int32_t number(const Launch& launch, std::string_view key) {
  return setting(launch.settings, key).value_or("auto") == "auto" ? 0 : whole(launch, key, 0);
}

std::int32_t degree(const Launch& launch, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (const std::int32_t value = number(launch, key); value != 0) {
      if (value < 1 || value > kLayoutLimit)
        throw InputError(launch.file, key, fmt::format("must be from 1 to {}, is {}", kLayoutLimit, value));
      return value;
    }
  }
  return 1;
}

// Megatron-DeepSpeed's words as Megatron-Core's.
void translate(Launch& launch) {
  Settings& s = launch.settings;
  if (s.contains("num_layers")) s["is_megatron"] = "true";
  if (setting(s, "normalization").value_or("") == "rmsnorm") s["normalization"] = "RMSNorm";
  if (s.contains("num_query_groups")) s["group_query_attention"] = "true";
  if (s.contains("kv_channels") && s["kv_channels"] == "None") s.erase("kv_channels");
  // --num-experts 1 means none; --expert-interval N: every N-th layer is routed, 2 by default.
  if (s.contains("num_experts") && (s["num_experts"] == "1" || s["num_experts"] == "0"))
    s.erase("num_experts");
  if (!s.contains("num_experts") || !s.contains("num_layers")) return;
  if (s["num_experts"].find(' ') != std::string::npos) {
    launch.add(Severity::warn, "cost", "numbers of experts that differ by layer: priced with the last");
    s["num_experts"] = s["num_experts"].substr(s["num_experts"].rfind(' ') + 1);
  }
  s.try_emplace("moe_router_topk", "1");
  const std::int32_t every = whole(launch, "expert_interval", 2), layers = whole(launch, "num_layers", 0);
  if (every < 1 || layers < 1 || layers > 4096)
    throw InputError(launch.file, "--expert-interval", "must be 1 or more, and layers 1 to 4096");
  std::vector<int> sparse;
  for (std::int32_t i = 0; i < layers; ++i) sparse.push_back((i + 1) % every == 0 ? 1 : 0);
  s["moe_layer_freq"] = pattern_text(sparse);
  if (setting(s, "moe_token_dropping").value_or("true") == "false")
    s.erase("moe_expert_capacity_factor");
  else
    s.try_emplace("moe_expert_capacity_factor", "1");
}

void find_model(const LaunchAsk& ask, Launch& launch) {
  if (launch.settings.contains("num_layers") && ask.model.empty()) return understand_model(launch, nullptr);
  if (!ask.model.empty()) {
    launch.model = load_model(ask.model);
    return;
  }
  const std::string named = setting(launch.settings, "model_name_or_path").value_or("");
  for (const auto& [part, name] : *options_of(kName).table().models) {
    if (named.find(part) != std::string::npos) launch.model = load_model(name);
  }
  if (!launch.model) launch.why_no_model = "a DeepSpeed file does not say the model's sizes; give --model";
}

void read_states(Launch& launch) {
  Settings& s = launch.settings;
  Layout& l = launch.layout;
  const bool json = s.contains("zero_optimization.stage");
  l.zero = json ? number(launch, "zero_optimization.stage") : number(launch, "zero_stage");
  if (is_on(s, "old_zero")) l.zero = 1;
  if (l.zero < 0 || l.zero > 3)
    throw InputError(launch.file, "zero_optimization.stage",
                     fmt::format("must be 0, 1, 2 or 3, is {}", l.zero));
  const std::string optimizer = setting(s, "zero_optimization.offload_optimizer.device").value_or("none");
  const std::string parameters = setting(s, "zero_optimization.offload_param.device").value_or("none");
  if (optimizer != "none" || is_on(s, "cpu_optimizer"))
    l.offload = Offload::optimizer, s["offloads_optimizer"] = "true";
  if (parameters != "none" || is_on(s, "old_offload_param")) s["offloads_parameters"] = "true";
  if (const std::int32_t bucket = number(launch, "zero_optimization.reduce_bucket_size"); bucket > 0)
    s["reduce_bucket"] = std::to_string(bucket);
  s["bf16_on"] =
      is_on(s, "bf16.enabled") || is_on(s, "bf16") || setting(s, "bf16.enabled") == "auto" ? "true" : "false";
  s["fp16_on"] = is_on(s, "fp16.enabled") || is_on(s, "fp16") ? "true" : "false";
  const std::int32_t shard = number(launch, "zero_optimization.mics_shard_size");
  if (shard > 0 && l.zero == 3 && l.dp > 0) {
    if (l.dp % shard != 0)
      launch.add(Severity::fail, "divisibility",
                 fmt::format("{} data-parallel ranks are not divisible by mics_shard_size {}", l.dp, shard));
    else if (shard > 1 && shard < l.dp)
      l.hsdp = shard;
  }
}

void read_recompute(Launch& launch) {
  const Settings& s = launch.settings;
  const std::string how = setting(s, "recompute_granularity").value_or("");
  const auto hf = setting(s, "gradient_checkpointing");
  const bool on =
      is_on(s, "checkpoint_activations") || how == "full" || (hf && *hf != "False" && *hf != "false");
  launch.layout.recompute.full = on;
  if (!on && (how == "selective" || is_on(s, "recompute_activations")))
    launch.layout.recompute.modules = Recompute::core;
  if (is_on(s, "checkpoint_in_cpu") || is_on(s, "activation_checkpointing.cpu_checkpointing"))
    launch.add(Severity::warn, "cost",
               "activation checkpoints on the host are not priced: memory is predicted too high");
}

// train_batch_size = micro-batch x accumulation x data-parallel ranks: DeepSpeed asserts it.
void read_batch(Launch& launch) {
  Layout& l = launch.layout;
  const std::int32_t json_micro = number(launch, "train_micro_batch_size_per_gpu");
  const std::int32_t arg_micro = number(launch, "micro_batch_size");
  std::int32_t micro = json_micro != 0 ? json_micro : arg_micro;
  std::int32_t gas = number(launch, "gradient_accumulation_steps");
  std::int64_t global = number(launch, "train_batch_size");
  if (json_micro > 0 && arg_micro > 0 && json_micro != arg_micro)
    launch.add(Severity::fail, "options",
               fmt::format("train_micro_batch_size_per_gpu {} is not the {} of the command line", json_micro,
                           arg_micro));
  const std::int64_t asked = number(launch, "global_batch_size");
  if (global > 0 && asked > 0 && asked != global)
    launch.add(Severity::fail, "options",
               fmt::format("train_batch_size {} is not the {} of the command line", global, asked));
  if (global == 0) global = asked;
  launch.seq = whole(launch, "seq_length", 0);
  if (l.dp == 0) return;
  if (micro == 0 && global > 0)
    micro = static_cast<std::int32_t>(
        std::max<std::int64_t>(global / (std::int64_t{l.dp} * std::max(gas, 1)), 1));
  if (micro == 0) {
    launch.add(Severity::warn, "options", "the micro-batch is not stated; 1 is assumed");
    micro = 1;
  }
  l.mb = micro;
  if (global == 0) global = std::int64_t{micro} * std::max(gas, 1) * l.dp;
  launch.global_batch = global;
  const std::int64_t once = std::int64_t{micro} * l.dp;
  if (gas == 0) gas = static_cast<std::int32_t>(global / once);
  if (once * gas != global) {
    launch.add(
        Severity::fail, "sampler",
        fmt::format(
            "train_batch_size {} is not micro-batch {} x accumulation {} x {} data-parallel ranks = {}",
            global, micro, gas, l.dp, once * gas));
  }
}

void understand(const LaunchAsk& ask, Launch& launch) {
  translate(launch);
  find_model(ask, launch);
  Layout& l = launch.layout;
  l.tp = degree(launch, {"tensor_model_parallel_size", "tensor_parallel.autotp_size"});
  l.pp = degree(launch, {"pipeline_model_parallel_size"});
  l.cp = degree(launch, {"context_parallel_size", "sequence_parallel_size"});
  l.ep = degree(launch, {"expert_model_parallel_size"});
  const bool moe = launch.model && launch.model->has_moe();
  if (moe && is_on(launch.settings, "enable_expert_tensor_parallelism")) l.etp = l.tp;
  l.sp = l.tp > 1 && is_on(launch.settings, "sequence_parallel");
  if (l.cp > 1) l.cp_kind = CpKind::a2a;  // Ulysses
  if (is_on(launch.settings, "no_pipeline_parallel") && l.pp > 1) {
    launch.add(Severity::fail, "mesh",
               fmt::format("--no-pipeline-parallel with --pipeline-model-parallel-size {}", l.pp));
  }
  settle_mesh(ask, launch);
  read_states(launch);
  read_recompute(launch);
  read_batch(launch);
  const std::int32_t layers = launch.model ? launch.model->layers() : 0;
  if (layers > 0 && layers % l.pp != 0)
    launch.add(Severity::note, "mesh", fmt::format("{} layers on {} stages: stages differ", layers, l.pp));
  if (l.pp > 1 && is_on(launch.settings, "enable_zbh1_pipeline")) l.schedule = kScheduleZbH1;
  if (const auto factor = setting(launch.settings, "moe_expert_capacity_factor"); factor && moe) {
    char* end = nullptr;
    launch.capacity_factor = std::strtod(factor->c_str(), &end);
    if (*end != '\0' || !(launch.capacity_factor > 0))
      throw InputError(launch.file, "--moe-train-capacity-factor", "is not a number above 0");
  }
}

// ---- writing

[[noreturn]] void refuse(std::string_view what, const std::string& why) {
  cannot_say(kName, what, why);
}

void check_expressible(const ExportAsk& ask) {
  const Layout& l = ask.layout;
  if (l.pp > 1 && l.zero > 1) refuse("zero", "ZeRO-2 and 3 do not go with stages");
  if (l.pp > 1 && l.schedule != kSchedule1F1B && l.schedule != kScheduleZbH1)
    refuse("schedule", std::string(schedule_names()[l.schedule]));
  if (l.vpp > 1) refuse("vpp", "a stage has one chunk");
  if (!l.split.empty() || ask.model->layers() % l.pp != 0)
    refuse("split", "layers are shared evenly among stages");
  if (l.cp > 1 && l.cp_kind != CpKind::a2a) refuse("cp_kind", "context parallelism is by heads (a2a)");
  if (l.sp && l.cp > 1) refuse("sp", "it is refused beside context parallelism");
  if (l.etp != 1 && l.etp != l.tp) refuse("etp", "it is 1 or tp");
  if (l.hsdp > 0 && l.zero != 3) refuse("hsdp", "shard groups are MiCS, of ZeRO-3 alone");
  if (l.zero == 3 && ask.model->has_moe()) refuse("zero", "expert layers do not run with ZeRO-3");
  if (l.recompute.full_layers > 0 || (l.recompute.modules & ~Recompute::core) != 0)
    refuse("recompute", "all of a layer, its attention core, or nothing");
  if (l.precision != Precision::bf16) refuse("precision", std::string(name_of(l.precision)));
  if (l.order != AxisOrder::tp_cp_ep_dp_pp) refuse("order", "ranks are numbered tp, dp, pp");
  if (l.dispatch != Dispatch::direct) refuse("a2a", "exchanges are direct");
}

Settings command_settings(const ExportAsk& ask) {
  const Layout& l = ask.layout;
  Settings out = model_settings(*ask.model);
  const auto drop = [&](std::string_view key) { out.erase(out.find(key)); };
  if (out.contains("group_query_attention")) drop("group_query_attention");
  if (out.contains("kv_channels") &&
      out["kv_channels"] == std::to_string(ask.model->hidden / ask.model->attention().heads))
    drop("kv_channels");
  out["vocab_size"] = out["padded_vocab_size"], drop("padded_vocab_size");
  if (out["normalization"] == "RMSNorm") out["normalization"] = "rmsnorm";
  if (out["normalization"] == "LayerNorm") out["normalization"] = "layernorm";
  if (out["position_embedding_type"] == "rope") out["use_rotary_position_embeddings"] = "true";
  if (out["position_embedding_type"] == "none") refuse("model", "layers without positions");
  drop("position_embedding_type");
  if (out.contains("moe_layer_freq")) refuse("model", "dense layers among routed ones in this pattern");
  if (ask.model->has_moe()) {
    if (out["moe_ffn_hidden_size"] != out["ffn_hidden_size"])
      refuse("model", "experts as wide as no dense layer");
    drop("moe_ffn_hidden_size");
    out["expert_interval"] = "1", out["expert_model_parallel_size"] = std::to_string(l.ep);
    if (l.etp > 1) out["enable_expert_tensor_parallelism"] = "true";
    if (ask.capacity_factor > 0)
      out["moe_expert_capacity_factor"] = fmt::format("{}", ask.capacity_factor);
    else
      out["moe_token_dropping"] = "false";
    out["create_moe_param_group"] = "true";
  }
  out["tensor_model_parallel_size"] = std::to_string(l.tp),
  out["pipeline_model_parallel_size"] = std::to_string(l.pp);
  if (l.cp > 1) out["context_parallel_size"] = std::to_string(l.cp);
  if (l.sp) out["sequence_parallel"] = "true";
  if (l.pp == 1) out["no_pipeline_parallel"] = "true";
  if (l.pp > 1 && l.schedule == kScheduleZbH1) out["enable_zbh1_pipeline"] = "true";
  if (l.recompute.full)
    out["checkpoint_activations"] = "true", out["deepspeed_activation_checkpointing"] = "true";
  if (l.recompute.modules != 0) out["recompute_granularity"] = "selective";
  out["micro_batch_size"] = std::to_string(l.mb), out["global_batch_size"] = std::to_string(ask.global_batch);
  out["seq_length"] = std::to_string(ask.seq);
  out.try_emplace("max_position_embeddings", std::to_string(ask.seq));
  out["bf16"] = "true", out["use_flash_attn_v2"] = "true";
  out["attention_dropout"] = "0", out["hidden_dropout"] = "0";
  out["zero_stage"] = std::to_string(l.zero);
  return out;
}

std::string config_text(const ExportAsk& ask) {
  const Layout& l = ask.layout;
  Json zero =
      Json::object().set("stage", l.zero).set("overlap_comm", true).set("reduce_bucket_size", 500000000);
  if (l.hsdp > 0) zero.set("mics_shard_size", l.hsdp);
  if (l.offload == Offload::optimizer)
    zero.set("offload_optimizer", Json::object().set("device", "cpu").set("pin_memory", true));
  return Json::object()
      .set("train_batch_size", ask.global_batch)
      .set("train_micro_batch_size_per_gpu", l.mb)
      .set("steps_per_print", 1)
      .set("gradient_clipping", 1.0)
      .set("bf16", Json::object().set("enabled", true))
      .set("zero_optimization", zero)
      .set("wall_clock_breakdown", false)
      .dump();
}

std::string write(const ExportAsk& ask) {
  check_expressible(ask);
  const std::string file = "ds_config.json";
  ScriptHead head{kName,
                  "pretrain_gpt.py",
                  "deepspeed",
                  ask.layout.gpus(),
                  ask.gpus_per_node,
                  {{"CUDA_DEVICE_MAX_CONNECTIONS", "1"}}};
  head.before = fmt::format("cat > {} << 'JSON'\n{}\nJSON\n", file, config_text(ask));
  return shell_script(head, command_settings(ask),
                      {"--deepspeed", "--deepspeed_config " + file, "--tokenizer-type NullTokenizer",
                       "--train-iters 50", "--log-interval 1", "--lr 1e-4", "--eval-iters 0"});
}

}  // namespace
}  // namespace tw::preflight

namespace tw::launch {
extern constinit const LaunchFormat deepspeed;
constinit const LaunchFormat deepspeed = {
    "deepspeed",
    30,
    "DeepSpeed: a JSON file, or the script that starts with it (Megatron-DeepSpeed, Hugging Face)",
    preflight::likely,
    preflight::read,
    preflight::understand,
    preflight::write};
}  // namespace tw::launch
