#include "reports/section.hpp"

#include <fmt/format.h>

#include "topology/check.hpp"
#include "topology/cluster.hpp"

namespace tw {
namespace {

constexpr std::string_view kPrefix = "trainwright.";
constexpr std::int32_t kMost = kMostGpus;

std::optional<Winner> placed(const JsonView& result, const JsonView& prediction, std::int32_t gpus,
                             std::int32_t gpus_per_node) {
  return Winner{prediction, gpus, std::min(gpus, gpus_per_node), count_at(result, "nics_per_node", 0, kMost)};
}

std::optional<Winner> of_question(const JsonView& question, const JsonView& prediction) {
  return placed(question, prediction, count_at(question, "gpus", 1, kMost),
                count_at(question, "gpus_per_node", 1, kMost));
}

// Of the answer's phases, the part that takes longest.
std::optional<Winner> of_size(const JsonView& result) {
  const auto answer = result.find("cheapest_gpus");
  if (!answer) return std::nullopt;
  const JsonView rows = result.at("rows");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].at("gpus").integer() != answer->integer()) continue;
    std::optional<JsonView> longest;
    const JsonView phases = rows[i].at("phases");
    for (std::size_t p = 0; p < phases.size(); ++p) {
      const JsonView parts = phases[p].at("parts");
      for (std::size_t k = 0; k < parts.size(); ++k) {
        if (!longest || number_at(parts[k], "days") > number_at(*longest, "days")) longest = parts[k];
      }
    }
    if (!longest) return std::nullopt;
    return placed(result, longest->at("prediction"), count_at(rows[i], "gpus", 1, kMost),
                  count_at(result, "gpus_per_node", 1, kMost));
  }
  return std::nullopt;
}

std::optional<Winner> of_whatif(const JsonView& result) {
  std::optional<JsonView> best;
  const JsonView points = result.at("points");
  const auto step = [](const JsonView& point) { return number_at(point.at("best"), "step_time_s"); };
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (points[i].find("best") && (!best || step(points[i]) < step(*best))) best = points[i];
  }
  if (!best) return std::nullopt;
  return placed(result, best->at("best"), count_at(*best, "gpus", 1, kMost),
                count_at(*best, "gpus_per_node", 1, kMost));
}

}  // namespace

std::optional<Winner> winner_of(const JsonView& result) {
  const std::string kind = kind_of(result);
  if (kind == "predict" || (kind == "check" && result.find("step_time_s")))
    return of_question(result, result);
  if (kind == "size") return of_size(result);
  if (kind == "whatif") return of_whatif(result);
  if (kind != "plan" || result.at("layouts").size() == 0) return std::nullopt;
  return of_question(result, result.at("layouts")[0]);
}

Layout layout_of(const Winner& winner) {
  const JsonView text = winner.prediction.at("layout");
  try {
    return parse_layout(text.string(), winner.gpus);
  } catch (const InputError& error) {
    text.fail(error.what());
  }
}

std::string kind_of(const JsonView& result) {
  const std::string schema = result.at("schema").string();
  const std::size_t slash = schema.find('/');
  if (!schema.starts_with(kPrefix) || slash == std::string::npos)
    result.at("schema").fail("\"" + printable(schema) + "\" is not of a result of trainwright");
  return schema.substr(kPrefix.size(), slash - kPrefix.size());
}

double number_at(const JsonView& object, std::string_view key) {
  return object.at(key).number();
}

std::optional<double> number_if(const JsonView& object, std::string_view key) {
  const auto found = object.find(key);
  return found ? std::optional(found->number()) : std::nullopt;
}

Cell cell_at(const JsonView& object, std::string_view key) {
  const auto number = number_if(object, key);
  return number ? Cell(*number) : Cell();
}

std::int32_t count_at(const JsonView& object, std::string_view key, std::int32_t low, std::int32_t high) {
  const JsonView value = object.at(key);
  const std::int64_t count = value.integer();
  if (count < low || count > high) value.fail(fmt::format("must be from {} to {}", low, high));
  return static_cast<std::int32_t>(count);
}

}  // namespace tw
