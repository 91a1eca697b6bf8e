// The list of fitted constants says what the files say, and the fit finds what it should.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "planner/validate/predict_row.hpp"
#include "planner/validate/refit.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw::validate {
namespace {

constexpr std::size_t kMostConstants = 25;

std::string joined_source(const JsonView& node) {
  const auto source = node.find("source");
  if (!source) return {};
  if (source->is_string()) return source->string();
  std::string out;
  for (std::size_t i = 0; i < source->size(); ++i) out += (*source)[i].string() + "\n";
  return out;
}

// The source of the innermost object around `pointer` that has one.
std::string source_around(Scenarios& scenarios, const Place& place) {
  std::string out;
  for (std::size_t end = 0; end != std::string::npos; end = place.pointer.find('/', end + 1)) {
    const JsonView node = scenarios.at(place.file, place.pointer.substr(0, end));
    const std::string said = node.is_object() ? joined_source(node) : std::string();
    if (!said.empty()) out = said;
  }
  return out;
}

template <class Constant>
void expect_in_range(const Constant& constant, const std::string& value) {
  const Amount low = amount_of(constant.low), high = amount_of(constant.high), is = amount_of(value);
  EXPECT_EQ(is.unit, low.unit) << constant.name;
  EXPECT_EQ(high.unit, low.unit) << constant.name;
  EXPECT_GE(is.number, low.number) << constant.name;
  EXPECT_LE(is.number, high.number) << constant.name;
}

template <class Constant>
void expect_as_listed(const Constant& constant, bool source_says) {
  Scenarios scenarios;
  EXPECT_FALSE(constant.places.empty()) << constant.name;
  expect_in_range(constant, constant.value);
  for (const Place& place : constant.places) {
    const Amount there = amount_at(scenarios.at(place.file, place.pointer)),
                 listed = amount_of(constant.value);
    EXPECT_EQ(there.number, listed.number) << constant.name << ": " << place.file << place.pointer;
    EXPECT_EQ(there.unit, listed.unit) << constant.name << ": " << place.file << place.pointer;
    if (!source_says) continue;
    EXPECT_NE(source_around(scenarios, place).find("fitted"), std::string::npos)
        << place.file << ": the source beside " << place.pointer << " does not say that it is fitted";
  }
}

TEST(Fitted, TheListSaysWhatTheFilesSay) {
  const FittedList list = load_fitted();
  EXPECT_LE(list.constants.size() + list.elsewhere.size(), kMostConstants);
  EXPECT_FALSE(list.constants.empty());
  for (const FittedConstant& constant : list.constants) expect_as_listed(constant, true);
  for (const FittedElsewhere& constant : list.elsewhere) expect_as_listed(constant, true);
  for (const FittedConstant& constant : list.bands) expect_as_listed(constant, false);
}

TEST(Fitted, EveryStudyUsedIsListedAndLeftOut) {
  std::set<std::string> studies;
  for (const Study& study : load_studies()) studies.insert(study.study);
  for (const FittedConstant& constant : load_fitted().constants) {
    std::set<std::string> used, left;
    for (const RowsUsed& rows : constant.rows) used.insert(rows.study);
    for (const auto& [study, value] : constant.left_out) {
      left.insert(study);
      if (value != constant.neutral) expect_in_range(constant, value);
    }
    EXPECT_EQ(left, used) << constant.name;
    for (const std::string& study : used) EXPECT_TRUE(studies.contains(study)) << study;
  }
}

TEST(Fitted, EveryShippedRowIsOfAStudy) {
  const std::vector<Study> studies = load_studies();
  for (const Row& row : read_rows(load_json(scenarios_folder() + "/published/steps.json")))
    EXPECT_NE(study_of(studies, row.source), nullptr) << row.source;
}

TEST(Fitted, AmountsKeepTheirUnit) {
  EXPECT_EQ(amount_of("4.7 ms").number, 4.7);
  EXPECT_EQ(amount_of("4.7 ms").unit, "ms");
  EXPECT_EQ(amount_of("1.13").unit, "");
  EXPECT_EQ(text_of(Amount{0.12345, "us"}), "0.123 us");
  EXPECT_THROW(amount_of("many"), InputError);
}

TEST(Fitted, LeastOfAParabola) {
  EXPECT_NEAR(least_at(0, 10, [](double x) { return (x - 3.3) * (x - 3.3); }), 3.3, 0.03);
  // At an end of the range, and where it is flat the least value of the argument.
  EXPECT_EQ(least_at(1, 2, [](double x) { return x; }), 1);
  EXPECT_EQ(least_at(1, 2, [](double x) { return -x; }), 2);
  EXPECT_EQ(least_at(1, 2, [](double) { return 0.0; }), 1);
}

TEST(Fitted, IntervalScore) {
  EXPECT_DOUBLE_EQ(interval_score(0.1, 0.05), 0.2);  // inside: the width
  EXPECT_DOUBLE_EQ(interval_score(0.1, -0.13), 0.2 + 10 * 0.03);
}

// A value that is replaced in memory changes the prediction and no file.
TEST(Fitted, ReplacedInMemory) {
  const std::string file = "frameworks/megatron.json", pointer = "/host/per_step";
  Scenarios scenarios;
  const Amount was = amount_at(scenarios.at(file, pointer));
  Scenarios other = scenarios;
  set(other, {{file, pointer}}, "900 ms");
  EXPECT_EQ(amount_at(other.at(file, pointer)).number, 900);
  EXPECT_EQ(amount_at(scenarios.at(file, pointer)).number, was.number);
  EXPECT_EQ(amount_at(Scenarios().at(file, pointer)).number, was.number);
  EXPECT_THROW(other.set(file, "/host/nothing", Json(1)), InputError);
}

// The skew of free routing from a wrong start: the value of the shipped list again, and without its
// only study the neutral one.
TEST(Fitted, RefitForgetsTheStart) {
  FittedList list = load_fitted();
  std::erase_if(list.constants, [](const FittedConstant& c) { return c.name != "skew of free routing"; });
  ASSERT_EQ(list.constants.size(), 1u);
  list.bands.clear();
  std::vector<Row> rows = read_rows(load_json(scenarios_folder() + "/published/steps.json"));
  std::erase_if(rows, [](const Row& row) { return row.source.find("MoE-ModelZoo") == std::string::npos; });
  const auto fitted = [&](const std::string& start) {
    list.constants[0].value = start;
    return refit(rows, list, [](const std::string&) {}).constants[0];
  };
  const FittedConstant one = fitted("3.5"), other = fitted("1.1");
  EXPECT_EQ(one.value, other.value);
  ASSERT_EQ(one.left_out.size(), 1u);
  EXPECT_EQ(one.left_out.at("MoE-ModelZoo"), "1");
}

}  // namespace
}  // namespace tw::validate
