#include "planner/validate/conventions.hpp"

#include <algorithm>
#include <array>

#include "planner/validate/words.hpp"

namespace tw::validate {
namespace {

// First match wins; sizes must agree too (fill_model.cpp).
const std::vector<NamedModel> kNamed = {{{"deepseek", "v2lite"}, "deepseek-v2-lite"},
                                        {{"deepseek", "v3"}, "deepseek-v3"},
                                        {{"deepseek", "r1"}, "deepseek-v3"},
                                        {{"gptoss", "120b"}, "gpt-oss-120b"},
                                        {{"gptoss", "20b"}, "gpt-oss-20b"},
                                        {{"mixtral", "8x22b"}, "mixtral-8x22b"},
                                        {{"mixtral", "8x7b"}, "mixtral-8x7b"},
                                        {{"qwen3", "235b"}, "qwen3-235b-a22b"},
                                        {{"qwen3", "30b"}, "qwen3-30b-a3b"},
                                        {{"qwen3", "14b"}, "qwen3-14b"},
                                        {{"qwen2", "57b"}, "qwen2-57b-a14b"},
                                        {{"nemotron3nano"}, "nemotron-3-nano-30b-a3b"},
                                        {{"olmoe"}, "olmoe-1b-7b"},
                                        {{"llama32", "1b"}, "llama-3.2-1b"},
                                        {{"llama3", "405b"}, "llama-3.1-405b"},
                                        {{"llama3", "70b"}, "llama-3.1-70b"},
                                        {{"llama3", "8b"}, "llama-3.1-8b"},
                                        {{"gpt", "175b"}, "gpt3-175b"}};

constexpr LatentConvention kDeepseekLatent = {1536, 512, 128, 64, 128};
constexpr LatentConvention kLiteLatent = {0, 512, 128, 64, 128};

// Order: what is tried where params_b decides.
const std::array<Convention, 9> kConventions = {{
    // Touvron et al. 2023 (arXiv 2302.13971), section 2.2
    {"llama", true, false, false, false, NormKind::rms, 32000, 0, {}},
    // Brown et al. 2020 (arXiv 2005.14165), Megatron-LM: vocabulary padded to 51200
    {"gpt", false, true, true, true, NormKind::layer, 51200, 0, {}},
    // llm-foundry MPT: biases, learned positions, vocabulary 50368 (its yamls)
    {"mpt", false, true, true, true, NormKind::layer, 50368, 0, {}},
    // Nemotron-4 (arXiv 2402.16819), table 1 and section 2: squared ReLU, no biases, untied
    {"nemotron", false, false, false, false, NormKind::layer, 256000, 0, {}},
    // Qwen2.5 and Qwen3 technical reports (arXiv 2412.15115, 2505.09388)
    {"qwen", true, false, false, false, NormKind::rms, 151936, 0, {}},
    // As llama, embeddings shared with the head
    {"llama, tied", true, false, true, false, NormKind::rms, 32000, 0, {}},
    // DeepSeek-V2 (arXiv 2405.04434), section 2.1 and 3.1.2: latent attention, first layer dense
    {"deepseek", true, false, false, false, NormKind::rms, 102400, 1, kDeepseekLatent},
    // Moonlight-16B-A3B config.json: the shape of DeepSeek-V2-Lite's attention
    {"moonlight", true, false, false, false, NormKind::rms, 163840, 1, kLiteLatent},
    // Kimi-K2 config.json: DeepSeek-V3's attention, one dense layer
    {"kimi", true, false, false, false, NormKind::rms, 163840, 1, kDeepseekLatent},
}};

struct Family {
  std::string_view needle;
  std::size_t convention;
};
constexpr Family kFamilies[] = {{"moonlight", 7}, {"kimi", 8}, {"deepseekv2lite", 7}, {"deepseek", 6},
                                {"nemotron", 3},  {"qwen", 4}, {"llama", 0},          {"mixtral", 0},
                                {"mistral", 0},   {"mpt", 2},  {"gptneox", 1},        {"gpt", 1},
                                {"megatron", 1},  {"opt", 1},  {"bloom", 1}};

}  // namespace

std::span<const NamedModel> named_models() {
  return kNamed;
}

std::span<const Convention> conventions() {
  return std::span(kConventions).first(6);  // latent attention comes by name alone
}

const Convention& convention_of(std::string_view model_name) {
  const std::string name = letters_and_digits(model_name);
  for (const Family& family : kFamilies) {
    if (name.find(family.needle) != std::string::npos) return kConventions[family.convention];
  }
  return kConventions[0];
}

}  // namespace tw::validate
