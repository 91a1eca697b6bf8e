// tests/golden/scoreboard.txt: how wrong each study's predictions were when it was last reviewed. A
// study may only get better; a worse one fails until tests/update_goldens.sh rewrites the file on
// purpose. Printed to a tenth of a per cent.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>

#include "planner/validate/predict_row.hpp"
#include "planner/validate/print.hpp"
#include "topology/registry.hpp"

namespace tw::validate {
namespace {

constexpr double kPoints = 0.5, kTau = 0.05;

struct Line {
  int used = 0;
  Maybe<double> time, tau, memory, fits;
};

Maybe<double> value(const std::string& word) {
  return word == "-" ? Maybe<double>() : Maybe<double>(std::atof(word.c_str()));
}

std::map<std::string, Line> lines_of(const std::string& text) {
  std::map<std::string, Line> out;
  std::istringstream lines(text);
  for (std::string each; std::getline(lines, each);) {
    std::istringstream words(each);
    std::string used, label, time, worst, tau, memory, fits, name;
    words >> used >> label >> time >> label >> worst >> label >> tau >> label >> memory >> label >> fits;
    std::getline(words >> std::ws, name);
    out[name] = {std::atoi(used.c_str()), value(time), value(tau), value(memory), value(fits)};
  }
  return out;
}

void expect_no_worse(const Maybe<double>& was, const Maybe<double>& is, double sign, double slack,
                     const std::string& what) {
  if (!was) return;
  ASSERT_TRUE(is) << what << " was known";
  EXPECT_LE(sign * *is, sign * *was + slack) << what << " was " << *was << ", is " << *is;
}

TEST(Scoreboard, NoStudyGetsWorse) {
  namespace fs = std::filesystem;
  const JsonView file = load_json(scenarios_folder() + "/published/steps.json");
  const std::string made = scoreboard_of(validate_rows(read_rows(file), {}, ""));
  const fs::path copy = fs::path(TW_BINARY_DIR) / "goldens/scoreboard.txt";
  fs::create_directories(copy.parent_path());
  write_file(copy.string(), made);
  const fs::path reviewed = fs::path(TW_SOURCE_DIR) / "tests/golden/scoreboard.txt";
  ASSERT_TRUE(fs::exists(reviewed)) << "run tests/update_goldens.sh";
  const auto now = lines_of(made);
  for (const auto& [name, was] : lines_of(read_file(reviewed.string()))) {
    ASSERT_TRUE(now.contains(name)) << name << " is gone";
    const Line& is = now.at(name);
    EXPECT_GE(is.used, was.used) << name;
    expect_no_worse(was.time, is.time, 1, kPoints, name + ": time error");
    expect_no_worse(was.memory, is.memory, 1, kPoints, name + ": memory error");
    expect_no_worse(was.fits, is.fits, -1, kPoints, name + ": fits or not");
    expect_no_worse(was.tau, is.tau, -1, kTau, name + ": rank agreement");
  }
}

// The comparison itself: a planted loss is found, a gain is not one.
TEST(Scoreboard, ReadsItsOwnLines) {
  const auto lines =
      lines_of("    5/6    time   12.3 worst   40.0 tau  0.50 memory      - fits  100.0  A study, Table 1\n");
  ASSERT_EQ(lines.size(), 1u);
  const Line& line = lines.at("A study, Table 1");
  EXPECT_EQ(line.used, 5);
  EXPECT_DOUBLE_EQ(*line.time, 12.3);
  EXPECT_DOUBLE_EQ(*line.tau, 0.5);
  EXPECT_FALSE(line.memory);
  EXPECT_DOUBLE_EQ(*line.fits, 100);
}

}  // namespace
}  // namespace tw::validate
