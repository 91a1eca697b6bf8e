// NeMo and Megatron-Bridge: overrides KEY=VALUE of a recipe, alone or in the script that passes them.
#include <fmt/format.h>

#include <algorithm>

#include "planner/preflight/command_line.hpp"
#include "planner/preflight/export_script.hpp"
#include "planner/preflight/megatron_words.hpp"
#include "planner/preflight/option_table.hpp"
#include "topology/check.hpp"

namespace tw::preflight {
namespace {

constexpr std::string_view kName = "nemo";

int likely(std::string_view path, std::string_view text) {
  if (path.ends_with(".toml") || path.ends_with(".json")) return 0;
  for (const std::string_view word :
       {"model.tensor_model_parallel_size", "trainer.devices", "trainer.strategy.", "run_recipe.py",
        "setup_experiment.py", "megatron_gpt_pretraining", "nemo llm ", "train.global_batch_size",
        "model.pipeline_model_parallel_size"}) {
    if (text.find(word) != std::string_view::npos) return 85;
  }
  return 0;
}

// "key=value" with dots or not, after hydra's +, ++ or ~.
bool is_override(const std::string& word) {
  const std::size_t equals = word.find('=');
  return equals != std::string::npos && equals > 0 && !word.starts_with('-');
}

std::vector<GivenOption> options_in(const std::vector<std::string>& words, std::vector<Finding>& findings) {
  std::vector<GivenOption> out;
  bool takes_more = false;
  for (std::string word : words) {
    if (is_override(word)) {
      while (word.starts_with('+') || word.starts_with('~')) word.erase(0, 1);
      const std::size_t equals = word.find('=');
      out.push_back({word.substr(0, equals), {word.substr(equals + 1)}});
      takes_more = false;
    } else if (word.starts_with('-') && word.size() > 1) {
      const std::size_t equals = word.find('=');
      out.push_back({word.substr(0, equals), {}});
      if (equals != std::string::npos) out.back().values.push_back(word.substr(equals + 1));
      takes_more = equals == std::string::npos;
    } else if (takes_more) {
      out.back().values.push_back(word);
    } else {
      findings.push_back({Severity::warn, "launch", fmt::format("\"{}\" is no override", printable(word))});
    }
  }
  return out;
}

GivenLaunch read(const LaunchAsk& ask, std::string_view text) {
  TrainingCommand command = training_command(ask, text);
  GivenLaunch out{{}, std::move(command.settings), std::move(command.findings)};
  out.options = options_in(command.words, out.findings);
  return out;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::replace(text.begin(), text.end(), '-', '_');
  std::replace(text.begin(), text.end(), '.', '_');
  return text;
}

// The longest of our names in what names the recipe.
std::optional<Model> recipe_model(Launch& launch) {
  const Settings& s = launch.settings;
  std::string said;
  for (const char* key : {"recipe", "factory", "model_recipe_name", "mr", "config_name", "model_name"})
    said += " " + lower(setting(s, key).value_or(""));
  if (s.contains("model_size")) said += "_" + lower(*setting(s, "model_size"));
  const std::pair<const std::string, std::string>* best = nullptr;
  const auto& models = *options_of(kName).table().models;
  for (const auto& each : models) {
    if (said.find(each.first) != std::string::npos &&
        (best == nullptr || each.first.size() > best->first.size()))
      best = &each;
  }
  if (best == nullptr) return std::nullopt;
  launch.settings["recipe_known"] = "true", launch.settings["recipe"] = best->first;
  return load_model(best->second);
}

constexpr std::pair<std::string_view, std::string_view> kMixed[] = {
    {"fp8_current", "tensorwise"},   {"fp8_delayed", "delayed"},
    {"fp8_subchannel", "blockwise"}, {"mxfp8", "mxfp8"},
    {"fp8_cs", "tensorwise"},        {"fp8_ds", "delayed"},
    {"fp8_sc", "blockwise"},         {"fp8_mx", "mxfp8"}};

void read_mixed_precision(Settings& s) {
  std::string text = lower(setting(s, "mixed_precision").value_or(""));
  text += " " + lower(setting(s, "compute_dtype").value_or(setting(s, "c").value_or("")));
  if (text.find("fp8") != std::string::npos && s.contains("fp8_recipe") && s["fp8_recipe"].size() == 2)
    text += " fp8_" + lower(s["fp8_recipe"]);
  if (text.find("nvfp4") != std::string::npos) s["fp4"] = "e2m1";
  for (const auto& [name, recipe] : kMixed) {
    if (text.find(name) != std::string::npos) s["fp8"] = "hybrid", s["fp8_recipe"] = recipe;
  }
  if (setting(s, "fp8").value_or("") == "True" || setting(s, "fp8").value_or("") == "true")
    s["fp8"] = "hybrid";
  if (setting(s, "fp8").value_or("") == "False" || setting(s, "fp8").value_or("") == "false") s.erase("fp8");
  if (is_on(s, "fp8_hybrid")) s["fp8"] = "hybrid";
}

// Names and senses that differ from Megatron-LM's.
void translate(Launch& launch) {
  Settings& s = launch.settings;
  if (const auto shared = setting(s, "share_embeddings_and_output_weights"))
    s["untie_embeddings_and_output_weights"] = lower(*shared) == "false" ? "true" : "false";
  if (s.contains("num_query_groups")) s["group_query_attention"] = "true";
  if (s.contains("vocab_size")) s.try_emplace("padded_vocab_size", s["vocab_size"]);
  if (s.contains("add_bias_linear")) s["add_bias_linear"] = lower(s["add_bias_linear"]);
  if (lower(setting(s, "activation_func").value_or("")) == "fast_swiglu") s["swiglu"] = "true";
  if (lower(setting(s, "normalization").value_or("")) == "rmsnorm") s["normalization"] = "RMSNorm";
  if (setting(s, "old_optimizer") == "distributed_fused_adam" ||
      setting(s, "old_optimizer") == "mcore_distributed_optim")
    s["use_distributed_optimizer"] = "true";
  for (const char* key :
       {"overlap_grad_reduce", "overlap_param_gather", "tp_comm_overlap", "grad_reduce_in_fp32"}) {
    if (s.contains(key)) s[key] = lower(s[key]);
  }
  for (const char* key : {"fp8", "fp4", "peft"}) {
    if (s.contains(key) && (lower(s[key]) == "none" || lower(s[key]) == "null")) s.erase(key);
  }
  if (s.contains("recompute_granularity") && lower(s["recompute_granularity"]) == "null")
    s.erase("recompute_granularity");
  if (s.contains("recompute_modules")) s.try_emplace("recompute_granularity", "selective");
  read_mixed_precision(s);
}

void read_ranks(Launch& launch) {
  Settings& s = launch.settings;
  const std::int32_t devices = whole(launch, "trainer_devices", whole(launch, "asked_gpus_per_node", 0));
  const std::int32_t nodes = whole(launch, "trainer_nodes", 1);
  if (s.contains("trainer_devices")) s["gpus"] = std::to_string(std::int64_t{devices} * nodes);
  if (devices > 0) s["gpus_per_node"] = std::to_string(devices);
  if (s.contains("asked_gpus")) s["gpus"] = s["asked_gpus"];
}

void understand(const LaunchAsk& ask, Launch& launch) {
  const bool layout = std::any_of(launch.options.begin(), launch.options.end(), [](const ReadOption& each) {
    return each.kind == OptionKind::layout && each.name.find("parallel") != std::string::npos;
  });
  const bool short_flags = launch.settings.contains("tensor_model_parallel_size");
  launch.settings["layout_given"] = layout || short_flags ? "true" : "false";
  translate(launch);
  read_ranks(launch);
  std::optional<Model> beside =
      ask.model.empty() ? recipe_model(launch) : std::optional(load_model(ask.model));
  const bool resized = launch.settings.contains("num_layers") || launch.settings.contains("hidden_size");
  if (beside && !resized)
    launch.model = std::move(beside);
  else
    understand_model(launch, beside ? &*beside : nullptr);
  // Recipes use the distributed optimizer unless they say otherwise.
  if (launch.settings.contains("recipe_known"))
    launch.settings.try_emplace("use_distributed_optimizer", "true");
  understand_layout(ask, launch);
}

// ---- writing

constexpr std::string_view kSections[] = {"train.", "model.", "ddp.", "optimizer.", "dist.", "comm_overlap."};

std::string mixed_precision(Precision precision) {
  switch (precision) {
    case Precision::bf16:
      return "bf16_mixed";
    case Precision::fp8_delayed:
      return "bf16_with_fp8_delayed_scaling_mixed";
    case Precision::fp8_current:
      return "bf16_with_fp8_current_scaling_mixed";
    case Precision::fp8_block:
      return "bf16_with_fp8_subchannel_scaling_mixed";
    case Precision::mxfp8:
      return "bf16_with_mxfp8_mixed";
    case Precision::nvfp4:
      return "bf16_with_nvfp4_mixed";
    case Precision::fp8_row:
      break;
  }
  cannot_say(kName, "precision", "fp8-row: there is no recipe with a scale for each row");
}

std::string as_list(std::string text) {
  std::replace(text.begin(), text.end(), ' ', ',');
  return text.starts_with('[') ? text : "[" + text + "]";
}

std::string pattern_list(const std::string& pattern, std::int32_t layers) {
  std::string out;
  for (const int each : layer_pattern(pattern, layers, "export"))
    out += (out.empty() ? "" : ",") + std::to_string(each);
  return "[" + out + "]";
}

// Megatron-LM's settings in Megatron-Bridge's names and senses.
Settings bridge_settings(const ExportAsk& ask) {
  Settings s = layout_settings(ask);
  for (const auto& [key, value] : model_settings(*ask.model)) s[key] = value;
  s["share_embeddings_and_output_weights"] = ask.model->tied_embeddings ? "true" : "false";
  s["vocab_size"] = std::to_string(ask.model->vocab),
  s["mixed_precision"] = mixed_precision(ask.layout.precision);
  for (const char* key :
       {"untie_embeddings_and_output_weights", "group_query_attention", "padded_vocab_size", "bf16", "fp8",
        "fp8_recipe", "fp4", "fp4_recipe", "ckpt_format", "use_precision_aware_optimizer"})
    s.erase(key);
  if (!s.contains("add_bias_linear")) s["add_bias_linear"] = "true";
  if (ask.model->attention().kind == AttentionKind::grouped)
    s["num_query_groups"] = std::to_string(ask.model->attention().kv_heads);
  for (const char* key : {"recompute_modules", "window_size"}) {
    if (s.contains(key)) s[key] = as_list(s[key]);
  }
  for (const char* key : {"moe_layer_freq", "window_attn_skip_freq"}) {
    if (s.contains(key)) s[key] = pattern_list(s[key], ask.model->layers());
  }
  s["attention_dropout"] = "0", s["hidden_dropout"] = "0";
  s["overlap_grad_reduce"] = "true";
  if (ask.layout.zero > 0) s["overlap_param_gather"] = "true";
  return s;
}

std::string write(const ExportAsk& ask) {
  const Options& options = options_of(kName);
  std::string lines;
  const auto line = [&](const std::string& text) { lines += "    " + text + "\n"; };
  for (const auto& [key, value] : bridge_settings(ask)) {
    if (key == "mixed_precision") {
      line(key + "=" + value);
      continue;
    }
    const OptionRow* row = options.of_setting(key, value, kSections);
    if (row == nullptr)
      cannot_say(kName, key, fmt::format("there is no option that means {} = {}", key, value));
    const bool plain = value.find_first_of("[]()|*, ") == std::string::npos;
    line(plain ? row->name + "=" + value : "'" + row->name + "=" + value + "'");
  }
  line(fmt::format("dataset.sequence_length={}", ask.seq));
  if (setting(bridge_settings(ask), "swiglu")) line("model.activation_func=silu");
  if (ask.layout.zero == 1) line("optimizer.use_distributed_optimizer=true");
  if (ask.layout.zero > 1) line("checkpoint.ckpt_format=fsdp_dtensor");
  if (ask.layout.offload == Offload::optimizer) line("optimizer.use_precision_aware_optimizer=true");
  line("train.train_iters=50"), line("logger.log_interval=1"), line("validation.eval_iters=0");
  const std::int32_t gpus = ask.layout.gpus(), per_node = std::min(gpus, ask.gpus_per_node);
  return fmt::format(
      "#!/bin/bash\n# Written by trainwright export --to nemo, for Megatron-Bridge.\n\nOVERRIDES=(\n{})\n\n"
      "torchrun --nnodes {} --nproc_per_node {} --node_rank \"${{NODE_RANK:-0}}\" --master_addr "
      "\"${{MASTER_ADDR:-localhost}}\" --master_port \"${{MASTER_PORT:-6000}}\" "
      "scripts/training/run_recipe.py "
      "--recipe vanilla_gpt_pretrain_config \"${{OVERRIDES[@]}}\"\n",
      lines, gpus / per_node, per_node);
}

}  // namespace
}  // namespace tw::preflight

namespace tw::launch {
extern constinit const LaunchFormat nemo;
constinit const LaunchFormat nemo = {"nemo",
                                     40,
                                     "NeMo and Megatron-Bridge: overrides of a recipe, alone or in a script",
                                     preflight::likely,
                                     preflight::read,
                                     preflight::understand,
                                     preflight::write};
}  // namespace tw::launch
