// tests/golden/scoreboard.txt: how wrong each study's predictions were when it was last reviewed. A
// study may only get better; a worse one fails until its row is changed on purpose, with a reason:
// WHY='...' tests/update_goldens.sh, which notes it in scoreboard_reasons.txt. To a tenth of a per cent.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>

#include "planner/validate/print.hpp"
#include "planner/validate/validate_rows.hpp"
#include "topology/registry.hpp"

namespace tw::validate {
namespace {

constexpr double kPoints = 0.5, kTau = 0.05;
// What an 80% band should hold of a set of rows; a coverage that is further outside than it was, is worse.
constexpr double kLeastCovered = 70, kMostCovered = 90, kCovered = 10;

struct Line {
  int used = 0;
  Maybe<double> time, left_out, tau, memory, fits, cover;
};

Maybe<double> value(const std::string& word) {
  return word == "-" ? Maybe<double>() : Maybe<double>(std::atof(word.c_str()));
}

std::map<std::string, Line> lines_of(const std::string& text) {
  std::map<std::string, Line> out;
  std::istringstream lines(text);
  for (std::string each; std::getline(lines, each);) {
    std::istringstream words(each);
    std::string used, label, time, left_out, worst, tau, memory, fits, cover, name;
    words >> used >> label >> time >> label >> left_out >> label >> worst >> label >> tau >> label >> memory;
    words >> label >> fits >> label >> cover;
    std::getline(words >> std::ws, name);
    out[name] = {std::atoi(used.c_str()), value(time), value(left_out), value(tau),
                 value(memory),           value(fits), value(cover)};
  }
  return out;
}

// What got worse, in words.
class Worse {
 public:
  void check(const Maybe<double>& was, const Maybe<double>& is, double sign, double slack,
             const std::string& what) {
    if (!was) return;
    if (!is || sign * *is > sign * *was + slack)
      said += what + " was " + text(was) + ", is " + text(is) + "\n";
  }

  std::string said;

 private:
  static std::string text(const Maybe<double>& value) {
    std::ostringstream out;
    if (value) out << *value;
    return value ? out.str() : "unknown";
  }
};

Maybe<double> off_target(const Maybe<double>& cover) {
  return cover ? Maybe<double>(std::max({0.0, kLeastCovered - *cover, *cover - kMostCovered})) : cover;
}

std::string worse_of(const std::map<std::string, Line>& before, const std::map<std::string, Line>& now) {
  Worse worse;
  for (const auto& [name, was] : before) {
    const auto found = now.find(name);
    const Line is = found == now.end() ? Line() : found->second;
    worse.check(was.used, is.used, -1, 0, name + ": rows used");
    worse.check(was.time, is.time, 1, kPoints, name + ": time error");
    worse.check(was.left_out, is.left_out, 1, kPoints, name + ": time error left out");
    worse.check(off_target(was.cover), off_target(is.cover), 1, kCovered,
                name + ": coverage away from 70 to 90%");
    worse.check(was.memory, is.memory, 1, kPoints, name + ": memory error");
    worse.check(was.fits, is.fits, -1, kPoints, name + ": fits or not");
    worse.check(was.tau, is.tau, -1, kTau, name + ": rank agreement");
  }
  return worse.said;
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
  const std::string worse = worse_of(lines_of(read_file(reviewed.string())), lines_of(made));
  write_file((fs::path(TW_BINARY_DIR) / "scoreboard_worse.txt").string(), worse);
  EXPECT_EQ(worse, "") << "better it, or say why: WHY='...' tests/update_goldens.sh";
}

// The comparison itself: a planted loss is found, a gain is not one.
TEST(Scoreboard, FindsWhatGotWorse) {
  const auto line = [](const std::string& time, const std::string& tau) {
    return lines_of("    5/6    time   " + time + " left-out   20.0 worst   40.0 tau  " + tau +
                    " memory      - fits  100.0 cover   80  A study, Table 1\n");
  };
  const auto before = line("12.3", "0.50");
  ASSERT_EQ(before.size(), 1u);
  const Line& read = before.at("A study, Table 1");
  EXPECT_EQ(read.used, 5);
  EXPECT_DOUBLE_EQ(*read.time, 12.3);
  EXPECT_DOUBLE_EQ(*read.left_out, 20);
  EXPECT_DOUBLE_EQ(*read.tau, 0.5);
  EXPECT_FALSE(read.memory);
  EXPECT_DOUBLE_EQ(*read.cover, 80);
  EXPECT_EQ(worse_of(before, line("11.0", "0.60")), "");
  EXPECT_EQ(worse_of(before, line("13.0", "0.50")), "A study, Table 1: time error was 12.3, is 13\n");
  EXPECT_EQ(worse_of(before, line("12.3", "-")), "A study, Table 1: rank agreement was 0.5, is unknown\n");
  EXPECT_NE(worse_of(before, {}), "");
  EXPECT_EQ(off_target(65), 5);
  EXPECT_EQ(off_target(100), 10);
  EXPECT_EQ(off_target(75), 0);
}

}  // namespace
}  // namespace tw::validate
