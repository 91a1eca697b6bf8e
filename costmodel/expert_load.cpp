#include "costmodel/expert_load.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <random>

#include "topology/check.hpp"
#include "topology/described.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

constexpr std::string_view kSchema = "trainwright.expert-load/1";

struct LoadedStep {
  std::int64_t step = 0;
  std::vector<std::vector<double>> layers;  // counts by layer with experts, or one list for all
};
TW_DESCRIBE(LoadedStep, step, layers);
struct LoadFile {
  std::string schema, source;
  std::int32_t experts = 0;
  std::vector<LoadedStep> steps;  // rising; each holds until the next
};
TW_DESCRIBE(LoadFile, schema, source, experts, steps);

double sum_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

// What is above goes to the others, as they are loaded.
std::vector<double> capped(std::vector<double> shares, double most) {
  const double all = sum_of(shares);
  for (double& share : shares) share /= all;
  std::vector<bool> full(shares.size(), false);
  for (bool again = true; again;) {
    again = false;
    double open = 0, left = 1;
    for (std::size_t i = 0; i < shares.size(); ++i) (full[i] ? left : open) += full[i] ? -most : shares[i];
    for (std::size_t i = 0; i < shares.size(); ++i) {
      if (full[i]) continue;
      shares[i] *= left / open;
      if (shares[i] > most) shares[i] = most, full[i] = again = true;
    }
  }
  return shares;
}

const LoadedStep& step_of(const LoadFile& file, const JsonView& node, std::int64_t step) {
  const LoadedStep* out = nullptr;
  for (std::size_t i = 0; i < file.steps.size(); ++i) {
    if (i > 0 && file.steps[i].step <= file.steps[i - 1].step)
      node.at("steps")[i].at("step").fail("steps must rise");
    if (file.steps[i].step <= step) out = &file.steps[i];
  }
  if (!out) node.at("steps").fail(fmt::format("none holds for step {}", step));
  return *out;
}

std::vector<std::vector<double>> from_file(const Model& model, const std::string& path, std::int64_t step) {
  const JsonView node = load_json(path);
  const auto file = read<LoadFile>(node);
  if (file.schema != kSchema)
    node.at("schema").fail(fmt::format("\"{}\" cannot be read; legal: {}", printable(file.schema), kSchema));
  const LoadedStep& now = step_of(file, node, step);
  const JsonView at = node.at("steps")[static_cast<std::size_t>(&now - file.steps.data())].at("layers");
  std::size_t routed = 0, next = 0;
  for (std::int32_t i = 0; i < model.layers(); ++i) routed += model.layer(i).moe.has_value();
  if (now.layers.size() != routed && now.layers.size() != 1)
    at.fail(fmt::format("{} layers; {} has {} with experts (or give one list for all)", now.layers.size(),
                        model.name, routed));
  std::vector<std::vector<double>> out(static_cast<std::size_t>(model.layers()));
  for (std::int32_t i = 0; i < model.layers(); ++i) {
    if (!model.layer(i).moe) continue;
    const Moe& moe = *model.layer(i).moe;
    const std::size_t list = now.layers.size() == 1 ? 0 : next++;
    const std::vector<double>& counts = now.layers[list];
    if (static_cast<std::int32_t>(counts.size()) != moe.experts || file.experts != moe.experts)
      at[list].fail(fmt::format("{} counts; {} has {} experts", counts.size(), model.name, moe.experts));
    if (std::any_of(counts.begin(), counts.end(), [](double c) { return !(c >= 0) || !std::isfinite(c); }))
      at[list].fail("counts must not be negative");
    const double all = sum_of(counts);
    if (all <= 0) at[list].fail("all counts are zero");
    std::vector<double>& shares = out[static_cast<std::size_t>(i)];
    for (const double count : counts) shares.push_back(count / all);
    if (*std::max_element(shares.begin(), shares.end()) > 1.0 / moe.top_k + 1e-9)
      at[list].fail(
          fmt::format("an expert has more than 1/{} of the copies, though a token takes it once", moe.top_k));
  }
  return out;
}

struct Pattern {
  const ExpertLoad* load;
  double parameter;
};
Pattern pattern_of(std::string_view option, const std::string& text) {
  const std::size_t colon = text.find(':');
  const ExpertLoad* load = find_row(all_loads(), text.substr(0, colon));
  if (!load)
    throw InputError("command line", option,
                     fmt::format("\"{}\" is unknown; legal: {}, or a file that ends in .json",
                                 printable(text), names_of(all_loads())));
  if (colon == std::string::npos) return {load, load->parameter};
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, value);
  if (error != std::errc{} || stop != end || !(value >= load->least && value <= load->most) ||
      load->most == 0)
    throw InputError("command line", option,
                     load->most == 0 ? fmt::format("{} takes no number", load->name)
                                     : fmt::format("\"{}\": give {}:NUMBER from {} to {}", printable(text),
                                                   load->name, load->least, load->most));
  return {load, value};
}

}  // namespace

std::vector<std::vector<double>> expert_shares(const Model& model, std::string_view option,
                                               const std::string& text, std::int64_t step,
                                               std::uint64_t seed) {
  if (!model.moe()) throw InputError("command line", option, model.name + " has no experts");
  if (text.ends_with(".json")) return from_file(model, text, step);
  const Pattern pattern = pattern_of(option, text);
  std::vector<std::vector<double>> out(static_cast<std::size_t>(model.layers()));
  for (std::int32_t i = 0; i < model.layers(); ++i) {
    if (!model.layer(i).moe) continue;
    const Moe& moe = *model.layer(i).moe;
    out[static_cast<std::size_t>(i)] =
        capped(pattern.load->shares({moe.experts, i, step, pattern.parameter, seed}), 1.0 / moe.top_k);
  }
  return out;
}

std::vector<double> zipf_shares(std::int32_t experts, double exponent) {
  std::vector<double> out;
  for (std::int32_t i = 1; i <= experts; ++i) out.push_back(std::pow(i, -exponent));
  return out;
}

std::vector<std::int32_t> shuffled_experts(std::int32_t experts, std::int32_t layer, std::uint64_t seed) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(experts));
  std::iota(out.begin(), out.end(), 0);
  std::mt19937_64 random(seed * 1'000'003 + static_cast<std::uint64_t>(layer));
  for (std::size_t i = out.size(); i > 1; --i) std::swap(out[i - 1], out[random() % i]);
  return out;
}

}  // namespace tw
