// What the blocks declare, against the published checkpoints: total to the last parameter where it is
// exact, active to the last printed digit, multi-token prediction.
#include <gtest/gtest.h>

#include <cstdlib>

#include "costmodel/parameters.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

JsonView published() {
  return load_json(scenarios_folder() + "/parameter_counts/published.json").at("models");
}

void expect_total(const JsonView& row, const ParameterCount& count) {
  const std::int64_t printed = row.at("parameters").integer();
  const std::int64_t allowed = row.at("exact").boolean() ? 0 : row.at("last_digit").integer();
  EXPECT_LE(std::abs(count.total - printed), allowed)
      << row.at("model").string() << " counts " << count.total;
}

// "counts_embedding": whether the published active number holds the look-up table.
void expect_active(const JsonView& row, const Model& model, const ParameterCount& count) {
  const auto active = row.find("active");
  if (!active) {
    EXPECT_EQ(count.active, count.total) << model.name << " is dense";
    return;
  }
  const std::int64_t table = std::int64_t{model.hidden} * model.vocab;
  const std::int64_t mine = count.active - (active->at("counts_embedding").boolean() ? 0 : table);
  EXPECT_LT(std::abs(mine - active->at("parameters").integer()), active->at("last_digit").integer())
      << model.name << " counts " << mine;
}

TEST(EmittedParameters, EqualThePublishedCheckpoints) {
  const JsonView rows = published();
  ASSERT_EQ(rows.size(), scenario_names("models").size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Model model = load_model(rows[i].at("model").string());
    const ParameterCount count = count_parameters(model);
    expect_total(rows[i], count);
    expect_active(rows[i], model, count);
    const auto mtp = rows[i].find("mtp");
    EXPECT_EQ(count.mtp, mtp ? mtp->at("parameters").integer() : 0) << model.name;
  }
}

}  // namespace
}  // namespace tw
