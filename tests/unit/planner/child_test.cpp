#include "planner/child.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "topology/check.hpp"

namespace tw {
namespace {

ChildResult shell(const std::string& script, ChildLimits limits = {},
                  std::vector<std::string>* lines = nullptr) {
  return run_child({"sh", "-c", script}, limits, [&](const std::string& line) {
    if (lines) lines->push_back(line);
  });
}

ChildLimits brief(double silence, double whole = 20) {
  return {std::chrono::duration<double>(whole), std::chrono::duration<double>(silence)};
}

bool lives(pid_t pid) {
  return kill(pid, 0) == 0;
}

TEST(Child, LinesAndCode) {
  std::vector<std::string> lines;
  const ChildResult r = shell("echo one; echo two; echo bad >&2; exit 3", {}, &lines);
  EXPECT_EQ(r.code, 3);
  EXPECT_TRUE(r.ended.empty());
  EXPECT_FALSE(r.good());
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(r.last_lines, "bad\n");
}

TEST(Child, EndedByASignal) {
  EXPECT_EQ(shell("kill -KILL $$").code, 128 + SIGKILL);
}

TEST(Child, CannotBeStarted) {
  try {
    run_child({"/no/such/program"}, {}, [](const std::string&) {});
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "/no/such/program: cannot be started: No such file or directory");
  }
}

TEST(Child, SilenceEndsIt) {
  std::vector<std::string> lines;
  const ChildResult r = shell("echo begun; sleep 100", brief(0.3), &lines);
  EXPECT_EQ(r.ended, "said nothing for too long");
  EXPECT_EQ(lines, std::vector<std::string>{"begun"});
}

TEST(Child, TalkDoesNotSaveItForEver) {
  EXPECT_EQ(shell("while :; do echo x; sleep 0.05; done", brief(10, 0.5)).ended,
            "took longer than its limit");
}

// A grandchild in a session of its own, that ignores what is asked politely, is gone all the same.
TEST(Child, LeavesNothingBehind) {
  const std::string path = testing::TempDir() + "/child_test_pid";
  const ChildResult r =
      shell("setsid sh -c 'trap \"\" TERM; echo $$ > " + path + "; while :; do sleep 1; done' & sleep 100",
            brief(1.0));
  EXPECT_EQ(r.ended, "said nothing for too long");
  pid_t pid = 0;
  std::ifstream(path) >> pid;
  ASSERT_GT(pid, 0);
  EXPECT_FALSE(lives(pid));
  std::filesystem::remove(path);
}

// Also where the child itself ended well.
TEST(Child, AGoodEndLeavesNothingBehindEither) {
  const std::string path = testing::TempDir() + "/child_test_pid2";
  const ChildResult r = shell("(sleep 100 > /dev/null 2>&1 & echo $! > " + path + ")");
  EXPECT_TRUE(r.good());
  pid_t pid = 0;
  std::ifstream(path) >> pid;
  ASSERT_GT(pid, 0);
  EXPECT_FALSE(lives(pid));
  std::filesystem::remove(path);
}

TEST(Child, LauncherStartsManyRanksOnFewCores) {
  const std::vector<std::string> many = launcher(1000);
  EXPECT_EQ((std::vector<std::string>{many.begin(), many.begin() + 3}),
            (std::vector<std::string>{"mpirun", "-n", "1000"}));
  EXPECT_NE(std::find(many.begin(), many.end(), "--oversubscribe"), many.end());
}

}  // namespace
}  // namespace tw
