// tests/golden/studies.txt: every question of scenarios/studies with its sign, pairs in order and errors
// when it was last reviewed. A right answer may not become wrong, nor a figure worse, but on purpose.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>

#include "planner/validate/study_print.hpp"
#include "topology/registry.hpp"

namespace tw::validate {
namespace {

constexpr double kPoints = 0.5;

struct Line {
  bool right = false, accurate = false;
  int pairs_right = 0;
  double mean = 0;
};

std::map<std::string, Line> lines_of(const std::string& text) {
  std::map<std::string, Line> out;
  std::istringstream lines(text);
  for (std::string each; std::getline(lines, each);) {
    std::istringstream words(each);
    std::string sign, pairs, label, mean, worst, accurate, name;
    words >> sign >> pairs >> label >> mean >> label >> worst >> accurate >> name;
    out[name] = {sign == "right", accurate == "accurate", std::atoi(pairs.c_str()), std::atof(mean.c_str())};
  }
  return out;
}

const std::vector<AnsweredStudy>& answered() {
  static const std::vector<AnsweredStudy> all = answer_studies("");
  return all;
}

TEST(Studies, NoAnswerGetsWorse) {
  namespace fs = std::filesystem;
  const std::string made = signs_of(answered());
  const fs::path copy = fs::path(TW_BINARY_DIR) / "goldens/studies.txt";
  fs::create_directories(copy.parent_path());
  write_file(copy.string(), made);
  const fs::path reviewed = fs::path(TW_SOURCE_DIR) / "tests/golden/studies.txt";
  ASSERT_TRUE(fs::exists(reviewed)) << "run tests/update_goldens.sh";
  const auto now = lines_of(made);
  for (const auto& [name, was] : lines_of(read_file(reviewed.string()))) {
    ASSERT_TRUE(now.contains(name)) << name << " is gone";
    const Line& is = now.at(name);
    EXPECT_TRUE(is.right || !was.right) << name << " was answered right";
    EXPECT_TRUE(is.accurate || !was.accurate) << name << " was within what it asks for";
    EXPECT_GE(is.pairs_right, was.pairs_right) << name;
    EXPECT_LE(is.mean, was.mean + kPoints) << name << ": mean error";
  }
}

// The data itself: `better` is the case with the best measured figure.
TEST(Studies, SayWhatTheyMeasured) {
  for (const AnsweredStudy& a : answered()) {
    if (a.study.compare == Quantity::fits) continue;
    const double sign = more_is_better(a.study.compare) ? 1 : -1;
    double best = 0;
    for (const PredictedCase& one : a.cases) {
      if (one.name == a.study.better) best = one.measured;
    }
    for (const PredictedCase& one : a.cases) EXPECT_GE(sign * best, sign * one.measured) << a.study.name;
    EXPECT_GE(a.measured_ratio, 1) << a.study.name;
  }
}

}  // namespace
}  // namespace tw::validate
