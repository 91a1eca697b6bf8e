// trainwright report and --report: every kind of result becomes a page, and whatever is broken in a result
// gives one line, exit 2 and no file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "costmodel/prediction.hpp"
#include "tests/support/program.hpp"

namespace tw {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kPlan = {
    "plan",  "--model", "olmoe-1b-7b", "--cluster", "h100-sxm:16", "--global-batch",  "64",
    "--seq", "2048",    "--top",       "3",         "--fix",       "pp=2,tp=2,vpp=1", "--quiet"};

std::vector<std::string> with(std::vector<std::string> args, const std::vector<std::string>& more) {
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

TEST(Report, ThePageOfACommandIsThatOfItsResult) {
  Workspace work;
  ASSERT_EQ(work.run(with(kPlan, {"--json", "plan.json", "--report", "direct.html"})).code, 0);
  const Ran ran = work.run({"report", "plan.json", "--out", "later.html"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(read_file(work.path("direct.html")), read_file(work.path("later.html")));
  EXPECT_THAT(read_file(work.path("later.html")), HasSubstr("<section id=\"ranking-0\">"));
}

// The answer of the page is the first line of the terminal.
TEST(Report, TheTerminalSaysTheSame) {
  Workspace work;
  const Ran ran = work.run(with(kPlan, {"--report", "plan.html"}));
  const std::string answer = ran.out.substr(0, ran.out.find('\n'));
  EXPECT_THAT(read_file(work.path("plan.html")), HasSubstr("<p class=answer>" + answer + "</p>"));
}

// Half of the 80% band is 1.28 standard deviations, the root of the squares of its parts; the pipeline has a
// time for every chunk.
TEST(Report, TheBandIsThatOfItsParts) {
  Workspace work;
  ASSERT_EQ(work.run(with(kPlan, {"--json", "plan.json"})).code, 0);
  const JsonView first = load_json(work.path("plan.json")).at("layouts")[0], band = first.at("band");
  double squares = 0, last = first.at("step_time_s").number();
  for (std::size_t i = 0; i < band.size(); ++i) {
    const double spread = band[i].at("spread_s").number();
    EXPECT_LE(spread, last) << "widest first";
    last = spread, squares += spread * spread;
  }
  const double half = first.at("step_time_high_s").number() - first.at("step_time_s").number();
  EXPECT_NEAR(kBand80 * std::sqrt(squares), half, 1e-9 * half);
  EXPECT_EQ(first.at("pipeline").at("chunks").size(), 2u);
}

struct Refusal {
  std::string name;
  std::vector<std::string> args;
  std::string says;
};

TEST(Report, RefusesWhatItCannotShow) {
  Workspace work;
  write_file(work.path("list.json"), R"({"schema": "trainwright.list/1"})");
  write_file(work.path("other.json"), R"({"name": "x"})");
  write_file(work.path("cut.json"), R"({"schema": "trainwright.plan/1", "layouts": [)");
  const std::set<std::string> before = work.files();
  for (const Refusal& each : std::vector<Refusal>{
           {"no file", {"report", "none.json", "--out", "a.html"}, "none.json"},
           {"no result", {"report", "--out", "a.html"}, "RESULT"},
           {"nothing to show", {"report", "list.json", "--out", "a.html"}, "has nothing for a page"},
           {"another file", {"report", "other.json", "--out", "a.html"}, "schema"},
           {"cut off", {"report", "cut.json", "--out", "a.html"}, "cut.json"},
           {"no folder", {"report", "list.json", "--out", "none/a.html"}, "no such folder"},
           {"to the terminal", with(kPlan, {"--report", "-"}), "needs a file"},
           {"one file for two", with(kPlan, {"--json", "a", "--report", "a"}), "the same file"}}) {
    const Ran ran = work.run(each.args);
    EXPECT_EQ(ran.code, 2) << each.name;
    EXPECT_THAT(ran.err, HasSubstr(each.says)) << each.name;
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << each.name << ": " << ran.err;
    EXPECT_EQ(work.files(), before) << each.name;
  }
}

// A seeded fuzzer: bytes of a real result changed, cut or repeated. Either a page or one line, never a crash.
TEST(Report, ADamagedResultGivesAPageOrOneLine) {
  Workspace work;
  ASSERT_EQ(work.run(with(kPlan, {"--json", "plan.json"})).code, 0);
  const std::string whole = read_file(work.path("plan.json"));
  std::mt19937 random(20261122);
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
  };
  const std::vector<std::string> words = {"-1", "0",  "1e308", "9223372036854775807", "null", "\"\"",
                                          "[]", "{}", "true"};
  int pages = 0, refused = 0;
  for (int i = 0; i < 150; ++i) {
    std::string text = whole;
    if (i % 3 == 0) {
      text[below(text.size())] = static_cast<char>(32 + below(95));
    } else {
      // A value replaced by another: from ": " to the end of the line.
      std::size_t at = text.find(": ", below(text.size()));
      if (at == std::string::npos) at = text.find(": ");
      const std::size_t end = text.find_first_of(",\n", at);
      text.replace(at + 2, end - at - 2, words[below(words.size())]);
    }
    write_file(work.path("damaged.json"), text);
    const Ran ran = work.run({"report", "damaged.json", "--out", "page.html"});
    ASSERT_TRUE(ran.code == 0 || ran.code == 2) << ran.code << " " << ran.err;
    if (ran.code == 2) {
      ASSERT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
    }
    ++(ran.code == 0 ? pages : refused);
  }
  EXPECT_GT(pages, 5);
  EXPECT_GT(refused, 30);
}

}  // namespace
}  // namespace tw
