// The vocabulary of Megatron-Core, which Megatron-LM, NeMo, Megatron-Bridge and Megatron-DeepSpeed share:
// its settings as a model and a layout, and back. Rules: megatron/training/arguments.py and
// megatron/core/transformer/transformer_config.py.
#pragma once

#include <vector>

#include "planner/preflight/launch.hpp"

namespace tw::preflight {

// ---- reading
// The model, where sizes are there; `why_no_model` names those that are not. What the file leaves out comes
// from `beside` (the user's --model, or the target's name of one).
void understand_model(Launch& launch, const Model* beside);
void understand_layout(const LaunchAsk& ask, Launch& launch);
// Every key that says which ranks do what: dp from the GPUs, sp without tp dropped, and so on. Findings for
// meshes that do not divide; then dp is 0.
void settle_mesh(const LaunchAsk& ask, Launch& launch);

// ---- writing; InputError names what cannot be said
Settings model_settings(const Model& model);
Settings layout_settings(const ExportAsk& ask);
[[noreturn]] void cannot_say(std::string_view target, std::string_view what, const std::string& why);

// ---- lists
// "1", "([0]*3+[1]*24)", "[0,1,1]" as one number for each layer; InputError.
std::vector<int> layer_pattern(const std::string& text, std::int32_t layers, const std::string& file);
std::string pattern_text(const std::vector<int>& layers);
// "Et*2|t*3|tL": layers of each chunk.
std::vector<std::int32_t> pipeline_layout(const std::string& text, const std::string& file);
std::string pipeline_layout_text(const std::vector<std::int32_t>& split, std::int32_t mtp);

}  // namespace tw::preflight
