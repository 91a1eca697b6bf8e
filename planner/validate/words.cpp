#include "planner/validate/words.hpp"

#include <algorithm>
#include <cctype>
#include <initializer_list>

namespace tw::validate {
namespace {

// The number that follows `word`.
std::optional<std::int32_t> number_after(std::string_view text, std::string_view word) {
  const std::size_t at = text.find(word);
  if (at == std::string_view::npos) return std::nullopt;
  std::int32_t value = 0;
  std::size_t i = at + word.size();
  while (i < text.size() && text[i] == ' ') ++i;
  const std::size_t first = i;
  for (; i < text.size() && i < first + 7 && std::isdigit(static_cast<unsigned char>(text[i])); ++i) {
    value = value * 10 + (text[i] - '0');
  }
  return i == first ? std::nullopt : std::optional(value);
}

struct ZeroRow {
  std::string_view needle;
  std::int32_t zero;
};
// First match wins.
constexpr ZeroRow kZero[] = {{"hsdp", 3},
                             {"fsdp", 3},
                             {"full_shard", 3},
                             {"shard_grad_op", 2},
                             {"zero-3", 3},
                             {"zero3", 3},
                             {"zero-2", 2},
                             {"zero2", 2},
                             {"zero-1", 1},
                             {"zero1", 1},
                             {"distributed opt", 1},
                             {"3", 3},
                             {"2", 2},
                             {"1", 1},
                             {"0", 0},
                             {"ddp", 0},
                             {"none", 0}};

struct ModuleRow {
  std::string_view name;
  std::uint8_t modules;
};
// Names of Megatron-Core's --recompute-modules and of papers. "moe" is the whole expert layer.
constexpr ModuleRow kModules[] = {{"core_attn", Recompute::core},
                                  {"core_attention", Recompute::core},
                                  {"selective", Recompute::core},
                                  {"attention", Recompute::attention},
                                  {"layernorm", Recompute::norm},
                                  {"norm", Recompute::norm},
                                  {"moe_act", Recompute::moe_act},
                                  {"moe", Recompute::mlp},
                                  {"mla_up_proj", Recompute::mla_up},
                                  {"mla_up", Recompute::mla_up},
                                  {"mlp", Recompute::mlp}};

struct ScheduleRow {
  std::string_view needle;
  std::uint8_t schedule;
};
constexpr ScheduleRow kSchedules[] = {
    {"dualpipev", kScheduleDualpipeV}, {"dualpipe", kScheduleDualpipe}, {"zbv", kScheduleZbV},
    {"zbh1", kScheduleZbH1},           {"zerobubble", kScheduleZbH1},   {"interleaved", kScheduleInterleaved},
    {"virtual", kScheduleInterleaved}, {"1f1b", kSchedule1F1B},         {"gpipe", kScheduleGpipe}};

// Shares of layers that cost as much to recompute in full as torchtitan's selective modes do.
// "layer": every second layer. "op": every second matrix product (wk, wo and w3 of wq, wk, wv, wo,
// w1, w3, w2), which is 0.36 of a Llama-3 layer's products at 8B and at 70B (derived from the shapes).
constexpr double kEverySecondLayer = 0.5, kEverySecondProduct = 0.36;

std::optional<RecomputeWords> module_words(std::string_view text, bool moe) {
  RecomputeWords out;
  std::string words(text);
  if (words.starts_with("selective ")) words = words.substr(10);
  std::replace(words.begin(), words.end(), ',', '+');
  std::erase(words, ' ');
  for (std::size_t start = 0; start <= words.size();) {
    const std::size_t end = std::min(words.find('+', start), words.size());
    const std::string_view piece = std::string_view(words).substr(start, end - start);
    start = end + 1;
    const auto row = std::find_if(std::begin(kModules), std::end(kModules),
                                  [&](const ModuleRow& r) { return r.name == piece; });
    if (row == std::end(kModules)) return std::nullopt;
    if (moe && piece == "mlp") {  // Megatron-Core: the dense layers' MLP, not the experts
      out.note = "recompute mlp concerns dense layers alone and is left out";
      continue;
    }
    out.recompute.modules = static_cast<std::uint8_t>(out.recompute.modules | row->modules);
  }
  const bool whole = (out.recompute.modules & Recompute::mlp) != 0;
  if (whole) out.recompute.modules = static_cast<std::uint8_t>(out.recompute.modules & ~Recompute::moe_act);
  if (!moe && (out.recompute.modules & Recompute::moe_act) != 0) return std::nullopt;
  return out;
}

}  // namespace

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string letters_and_digits(std::string_view text) {
  std::string out = lower(text);
  std::erase_if(out, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); });
  return out;
}

bool mentions(std::string_view text, std::string_view needle) {
  return lower(text).find(needle) != std::string::npos;
}

std::optional<ZeroWords> read_zero_words(std::string_view text) {
  const std::string words = lower(text);
  for (const ZeroRow& row : kZero) {
    if (words.find(row.needle) != std::string::npos)
      return ZeroWords{row.zero, number_after(words, "shard group")};
  }
  return std::nullopt;
}

Precision read_precision_words(std::string_view text, std::int32_t year, bool blackwell) {
  const std::string words = lower(text);
  const auto has = [&](std::string_view needle) { return words.find(needle) != std::string::npos; };
  if (has("fp4")) return Precision::nvfp4;
  if (has("mxfp8") || has("fp8-mx")) return Precision::mxfp8;
  if (!has("fp8") && !has("float8")) return Precision::bf16;
  if (has("delayed")) return Precision::fp8_delayed;
  if (has("row")) return Precision::fp8_row;
  if (has("block") || has("subchannel") || has("finer"))
    return blackwell ? Precision::mxfp8 : Precision::fp8_block;
  // Transformer Engine's default was delayed scaling until current scaling came in 2025.
  return has("fp8") && !has("current") && year < 2025 ? Precision::fp8_delayed : Precision::fp8_current;
}

std::optional<RecomputeWords> read_recompute_words(std::string_view text, bool moe, bool by_operator) {
  const std::string words = lower(text);
  RecomputeWords out;
  if (words == "none" || words == "no" || words == "off") return out;
  if (words.starts_with("full")) {
    out.recompute.full = true;
    out.recompute.full_layers = number_after(words, "full:").value_or(0);
    return out;
  }
  const bool op = words == "selective op";
  if (by_operator && (op || words == "selective")) {
    out.recompute.modules = Recompute::core;
    return out;
  }
  if (words == "selective layer" || op) {
    out.recompute.full = true;
    out.layer_share = op ? kEverySecondProduct : kEverySecondLayer;
    out.note =
        op ? "recompute selective op = every second matrix product, priced as 36% of the layers in full"
           : "recompute selective layer = every second layer in full";
    return out;
  }
  return module_words(words, moe);
}

std::optional<std::uint8_t> read_schedule_words(std::string_view text) {
  const std::string words = letters_and_digits(text);
  for (const ScheduleRow& row : kSchedules) {
    if (words.find(row.needle) != std::string::npos) return row.schedule;
  }
  return std::nullopt;
}

std::optional<DType> read_dtype_words(std::string_view text) {
  const std::string words = letters_and_digits(text);
  if (words == "float32") return DType::fp32;
  if (words == "bfloat16") return DType::bf16;
  for (const auto& row : kDTypes) {
    if (row.name == words) return row.dtype;
  }
  return std::nullopt;
}

}  // namespace tw::validate
