// Megatron-LM: a list of arguments, or a shell script that passes them to pretrain_gpt.py.
#include <fmt/format.h>

#include "planner/preflight/command_line.hpp"
#include "planner/preflight/export_script.hpp"
#include "planner/preflight/megatron_words.hpp"
#include "planner/preflight/option_table.hpp"

namespace tw::preflight {
namespace {

int likely(std::string_view path, std::string_view text) {
  if (path.ends_with(".toml") || path.ends_with(".json")) return 0;
  if (text.find("deepspeed") != std::string_view::npos) return 10;
  return text.find("--num-layers") != std::string_view::npos ||
                 text.find("--tensor-model-parallel-size") != std::string_view::npos ||
                 text.find("--micro-batch-size") != std::string_view::npos
             ? 60
             : 0;
}

GivenLaunch read(const LaunchAsk& ask, std::string_view text) {
  TrainingCommand command = training_command(ask, text);
  GivenLaunch out{{}, std::move(command.settings), std::move(command.findings)};
  out.options = dashed_options(command.words, out.findings);
  return out;
}

void understand(const LaunchAsk& ask, Launch& launch) {
  const std::optional<Model> beside = ask.model.empty() ? std::nullopt : std::optional(load_model(ask.model));
  understand_model(launch, beside ? &*beside : nullptr);
  understand_layout(ask, launch);
}

// What the profile megatron takes to be on, and no dropout.
constexpr std::pair<std::string_view, std::string_view> kUsual[] = {{"attention_dropout", "0"},
                                                                    {"hidden_dropout", "0"},
                                                                    {"cross_entropy_loss_fusion", "true"},
                                                                    {"cross_entropy_fusion_impl", "te"}};

std::string write(const ExportAsk& ask) {
  Settings settings = layout_settings(ask);
  for (const auto& [key, value] : model_settings(*ask.model)) settings[key] = value;
  for (const auto& [key, value] : kUsual) settings[std::string(key)] = value;
  settings["vocab_size"] = std::to_string(ask.model->vocab);  // of NullTokenizer, which pads it
  settings.erase("padded_vocab_size");
  if (ask.layout.gpus() / (ask.layout.tp * ask.layout.pp * ask.layout.cp) > 1 || ask.layout.zero > 0) {
    settings["overlap_grad_reduce"] = "true";
    if (ask.layout.zero > 0) settings["overlap_param_gather"] = "true";
  }
  const bool fsdp = ask.layout.zero > 1;
  return shell_script({"megatron",
                       "pretrain_gpt.py",
                       "torchrun",
                       ask.layout.gpus(),
                       ask.gpus_per_node,
                       {{"CUDA_DEVICE_MAX_CONNECTIONS", fsdp ? "8" : "1"}}},
                      settings,
                      {"--tokenizer-type NullTokenizer", "--mock-data", "--train-iters 50",
                       "--log-interval 1", "--lr 1e-4", "--eval-iters 0", "--log-throughput"});
}

}  // namespace
}  // namespace tw::preflight

namespace tw::launch {
extern constinit const LaunchFormat megatron;
constinit const LaunchFormat megatron = {
    "megatron",
    10,
    "Megatron-LM: arguments of pretrain_gpt.py, alone or in a shell script",
    preflight::likely,
    preflight::read,
    preflight::understand,
    preflight::write};
}  // namespace tw::launch
