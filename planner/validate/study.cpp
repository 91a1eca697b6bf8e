#include "planner/validate/study.hpp"

#include <algorithm>
#include <filesystem>

#include "topology/registry.hpp"

namespace tw::validate {
namespace {

void check_case(const JsonView& at, const StudyCase& one, Quantity compare) {
  const int kinds =
      one.step.has_value() + one.ring.has_value() + one.loss.has_value() + one.tensors.has_value();
  if (kinds != 1) at.fail("must have one of step, ring, loss and tensors");
  const Figures& m = one.measured;
  const bool there = (compare == Quantity::unique_tokens && m.unique_tokens_per_s) ||
                     (compare == Quantity::tokens && m.tokens_per_s) || (compare == Quantity::mfu && m.mfu) ||
                     (compare == Quantity::time && m.time) || (compare == Quantity::memory && m.memory) ||
                     (compare == Quantity::fits && m.fits);
  if (!there) at.at("measured").fail("does not have what the study compares");
}

}  // namespace

Ablation load_study(const std::string& name_or_path) {
  const std::string path = scenario_path("studies", name_or_path);
  const JsonView file = load_json(path);
  Ablation study = read<Ablation>(file);
  study.name = std::filesystem::path(path).stem().string();
  const JsonView cases = file.at("cases");
  for (std::size_t i = 0; i < study.cases.size(); ++i) check_case(cases[i], study.cases[i], study.compare);
  if (study.source.empty()) file.at("source").fail("must name at least one source");
  if (study.compare == Quantity::fits) return study;
  if (study.cases.size() < 2) cases.fail("must hold two cases or more");
  const auto named = [&](const StudyCase& one) { return one.name == study.better; };
  if (std::none_of(study.cases.begin(), study.cases.end(), named)) file.at("better").fail("names no case");
  return study;
}

}  // namespace tw::validate
