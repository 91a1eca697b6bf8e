// Launch files with a known outcome (tests/launch/cases.json), each with an expectation written before and
// its source: verdict and reason. What memory is too near to tell counts as undecided.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "planner/preflight/check.hpp"
#include "topology/check.hpp"
#include "topology/described.hpp"

namespace tw::preflight {
namespace {

struct Case {
  std::string id, kind, file;
  std::vector<std::string> lines;
  std::string cluster;
  std::vector<std::string> args, verdict;
  std::string about, source;
};
TW_DESCRIBE(Case, id, kind, file, lines, cluster, args, verdict, about, source);
struct Cases {
  std::string about;
  std::vector<Case> cases;
};
TW_DESCRIBE(Cases, about, cases);

struct Outcome {
  enum { right, wrong, undecided } is = wrong;
  std::string said;
};

std::string verdict_of(const CheckResult& result) {
  return result.verdict() == Severity::note ? "pass" : std::string(name_of(result.verdict()));
}

CheckResult checked(const Case& c) {
  const std::filesystem::path folder = std::filesystem::path(TW_BINARY_DIR) / "launch-cases" / c.id;
  std::filesystem::create_directories(folder);
  std::string text;
  for (const std::string& line : c.lines) text += line + "\n";
  CheckAsk ask;
  ask.launch.file = (folder / c.file).string();
  write_file(ask.launch.file, text);
  ask.asked.cluster = c.cluster, ask.asked.framework = "";
  for (std::size_t i = 0; i + 1 < c.args.size(); i += 2) {
    if (c.args[i] == "--model") ask.launch.model = c.args[i + 1];
    if (c.args[i] == "--seq") ask.launch.seq = std::stoi(c.args[i + 1]);
  }
  ask.search = c.about == "better";
  return check_launch(ask);
}

bool within_doubt(const CheckResult& result) {
  return std::any_of(result.findings.begin(), result.findings.end(), [](const Finding& each) {
    return each.about == "memory" && each.severity == Severity::warn;
  });
}

Outcome outcome_of(const Case& c) {
  CheckResult result;
  try {
    result = checked(c);
  } catch (const InputError& error) {
    return {Outcome::wrong, std::string("refused as input: ") + error.what()};
  }
  std::string said = verdict_of(result);
  bool reason = c.about.empty();
  for (const Finding& each : result.findings) {
    if (each.severity == Severity::note) continue;
    said += "; " + each.about + ": " + each.text;
    reason = reason || (each.about == c.about && each.severity == result.verdict());
  }
  const std::string verdict = verdict_of(result);
  const bool right = std::find(c.verdict.begin(), c.verdict.end(), verdict) != c.verdict.end();
  if (right && reason) return {Outcome::right, said};
  if (c.about == "memory" && within_doubt(result)) return {Outcome::undecided, said};
  return {Outcome::wrong, said};
}

// Cases that are wrong today, with why; the list may only shrink.
const std::map<std::string, std::string>& known_wrong() {
  static const std::map<std::string, std::string> table = {
      {"hagemann-13B-8k-64-tp4pp4mb4-spdisab-ntion2",
       "their trainer keeps more than Megatron-Core's kernels do"},
      {"hagemann-13B-8k-64-tp8pp1mb2-spdisab-ntion2", "the same"},
      {"hagemann-13B-8k-64-tp2pp1mb1-spdisab-ntion2", "the same"}};
  return table;
}

TEST(LaunchCases, VerdictAndReasonAreThoseExpected) {
  const auto all = load<Cases>(std::string(TW_SOURCE_DIR) + "/tests/launch/cases.json");
  EXPECT_GE(all.cases.size(), 60u);
  std::map<std::string, std::array<int, 3>> counts;
  for (const Case& c : all.cases) {
    const Outcome outcome = outcome_of(c);
    ++counts[c.kind][outcome.is];
    const bool known = known_wrong().contains(c.id);
    if (outcome.is == Outcome::wrong) {
      EXPECT_TRUE(known) << c.id << " (" << c.kind << ", expected " << c.verdict.front() << " " << c.about
                         << ")\n  " << outcome.said;
    } else if (outcome.is == Outcome::right) {
      EXPECT_FALSE(known) << c.id << " is right now: take it off the list";
    }
  }
  for (const auto& [kind, n] : counts)
    std::printf("%-14s %2d right, %d wrong, %d undecided\n", kind.c_str(), n[0], n[1], n[2]);
}

TEST(LaunchCases, EveryCaseNamesItsSource) {
  for (const Case& c : load<Cases>(std::string(TW_SOURCE_DIR) + "/tests/launch/cases.json").cases)
    EXPECT_GT(c.source.size(), 10u) << c.id;
}

}  // namespace
}  // namespace tw::preflight
