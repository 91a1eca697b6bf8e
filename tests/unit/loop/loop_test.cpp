// calibrate, plan, confirm as a user runs them, on two ranks of this machine; and what they do when a rank is
// killed or hangs, the disk is full, a file is cut off, or the calibration is another machine's. No time is
// judged here: tests/loop/accuracy.py does that on a quiet machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <regex>
#include <thread>

#include "tests/support/program.hpp"
#include "topology/json.hpp"

namespace tw {
namespace {

using std::chrono::steady_clock;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

const std::string kModel = read_file(TW_SOURCE_DIR "/scenarios/models/tiny-moe.json");

std::string program() {
  return quoted(TW_BINARY_DIR "/bin/trainwright") + " ";
}

std::string command_line(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/cmdline");
  return {std::istreambuf_iterator<char>(in), {}};
}

// Of all that runs, whose command line holds `words` and whose name begins so.
std::vector<pid_t> running(const std::string& name, const std::string& words) {
  std::vector<pid_t> out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string line = command_line(std::stoi(pid));
    const std::string first = line.substr(0, line.find('\0'));
    if (first.ends_with(name) && line.find(words) != std::string::npos) out.push_back(std::stoi(pid));
  }
  return out;
}

// The word after --status in its command line names files in which each rank says where it is.
bool taking_steps(const std::vector<pid_t>& ranks) {
  if (ranks.empty()) return false;
  const std::string line = command_line(ranks.front());
  const std::string option = std::string("--status") + '\0';
  const std::size_t at = line.find(option) + option.size();
  const std::string path = line.substr(at, line.find('\0', at) - at);
  for (const char* rank : {".0", ".1"}) {
    std::ifstream in(path + rank);
    std::string step;
    if (!(in >> step) || step != "step") return false;
  }
  return true;
}

template <class Condition>
bool within(double seconds, Condition holds) {
  const auto end = steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!holds()) {
    if (steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

// One calibration for all tests: a minute's work done once, in a part of a minute.
class Loop : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    space_ = new Workspace;
    calibrated_ = new Ran(space_->run(
        {"calibrate", "--device", "cpu", "--ranks", "2", "--seconds", "0.1", "--out", "here.json"}));
    write_file(space_->path("model.json"), kModel);
    planned_ = new Ran(plan("here.json", "plan.json"));
  }
  static void TearDownTestSuite() { delete planned_, delete calibrated_, delete space_; }

  static Ran plan(const std::string& calibration, const std::string& to) {
    return space_->run({"plan", "--model", "model.json", "--cluster", "local-cpu:2", "--calibration",
                        calibration, "--framework", "trainwright-cpu", "--global-batch", "4", "--seq", "64",
                        "--top", "2", "--save", to});
  }
  static std::string confirm(const std::string& more) {
    return program() + "confirm --plan plan.json --top 1 " + more;
  }
  // Runs a confirmation of very many steps, does something to the trainers once they take steps, and waits.
  template <class Act>
  Ran disturbed(const std::string& more, Act act) {
    const std::string model = space_->path("model.json");
    std::thread other([&] {
      const auto trainers = [&] { return running("trainwright-train", model); };
      EXPECT_TRUE(within(60, [&] { return trainers().size() == 2; })) << "no training run was started";
      EXPECT_TRUE(within(60, [&] { return taking_steps(trainers()); }));
      act(trainers());
      began_ = steady_clock::now();
    });
    const Ran ran = space_->run_line(confirm("--steps 99999 " + more));
    const std::chrono::duration<double> taken = steady_clock::now() - began_;
    seconds_ = taken.count();
    other.join();
    EXPECT_TRUE(within(5, [&] { return running("", model).empty(); })) << "a process is left";
    return ran;
  }

  static Workspace* space_;
  static Ran *calibrated_, *planned_;
  steady_clock::time_point began_;
  double seconds_ = 0;  // from the disturbance to the end
};
Workspace* Loop::space_ = nullptr;
Ran* Loop::calibrated_ = nullptr;
Ran* Loop::planned_ = nullptr;

TEST_F(Loop, CalibrateWritesWhatItMeasuredAndItsRows) {
  ASSERT_EQ(calibrated_->code, 0) << calibrated_->err;
  EXPECT_THAT(calibrated_->out, HasSubstr("here.json: "));
  EXPECT_THAT(calibrated_->out, HasSubstr("grouped gemm"));
  const JsonView file = load_json(space_->path("here.json"));
  EXPECT_FALSE(file.at("machine").string().empty());
  EXPECT_GT(file.at("likeness").number(), 0.1);
  EXPECT_LT(file.at("likeness").number(), 1.2);
  const JsonView rows = load_json(space_->path("here.rows.json"));
  EXPECT_GT(rows.at("kernels").size(), 300u);
  EXPECT_GT(rows.at("collectives").size(), 40u);
  EXPECT_GT(rows.at("kernels")[0].at("samples").integer(), 2);
}

TEST_F(Loop, CalibrateGoesOnFromItsRows) {
  std::filesystem::copy(space_->path("here.rows.json"), space_->path("again.rows.json"));
  const Ran again = space_->run({"calibrate", "--ranks", "2", "--out", "again.json"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.err, IsEmpty()) << "measured again";
  std::string first = read_file(space_->path("here.json")), second = read_file(space_->path("again.json"));
  const std::regex context("\"context\":[ ]*\"[^\"]*\"");  // of this process
  EXPECT_EQ(std::regex_replace(first, context, ""), std::regex_replace(second, context, ""));
}

TEST_F(Loop, CalibrateRefusesRowsOfAnotherMachine) {
  std::string rows = read_file(space_->path("here.rows.json"));
  const std::size_t at = rows.find("2 ranks on 1 host");
  ASSERT_NE(at, std::string::npos);
  write_file(space_->path("other.rows.json"), rows.replace(at, 17, "3 ranks on 1 host"));
  const Ran ran = space_->run({"calibrate", "--ranks", "2", "--out", "other.json"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("other.rows.json: title: rows of another machine or launch"));
  EXPECT_FALSE(std::filesystem::exists(space_->path("other.json")));
}

TEST_F(Loop, ConfirmHoldsRunsAgainstPredictions) {
  ASSERT_EQ(planned_->code, 0) << planned_->err;
  const Ran ran =
      space_->run({"confirm", "--plan", "plan.json", "--top", "2", "--steps", "8", "--json", "done.json"});
  EXPECT_THAT((std::vector<int>{0, 4}), testing::Contains(ran.code))
      << ran.err;  // 4: outside its band on a busy machine
  EXPECT_THAT(ran.out, HasSubstr("Where the time of run 1 goes"));
  EXPECT_THAT(ran.out, HasSubstr("losses fall"));
  EXPECT_THAT(ran.err, HasSubstr("run 2 of 2: "));
  const JsonView layouts = load_json(space_->path("done.json")).at("layouts");
  ASSERT_EQ(layouts.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    const JsonView measured = layouts[i].at("measured");
    double terms = 0;
    for (std::size_t t = 0; t < layouts[i].at("terms").size(); ++t)
      terms += layouts[i].at("terms")[t].at("measured_s").number();
    EXPECT_EQ(measured.at("loss").size(), 11u);  // three to warm up
    EXPECT_LE(measured.at("p10_s").number(), measured.at("step_time_s").number());
    EXPECT_GT(terms, 0.5 * measured.at("p10_s").number()) << "terms that explain the step";
    EXPECT_GT(measured.at("memory_gib").number(), 0.05);
  }
}

TEST_F(Loop, ConfirmTrainsOnAFile) {
  write_file(space_->path("text"), std::string(5000, 'a') + "some text that is not all the same\n");
  const Ran ran = space_->run_line(confirm("--steps 2 --quiet --json text.json --data text"));
  EXPECT_THAT(ran.err, IsEmpty());
  const JsonView loss = load_json(space_->path("text.json")).at("layouts")[0].at("measured").at("loss");
  EXPECT_LT(loss[4].number(), loss[0].number());
}

TEST_F(Loop, AKilledRankIsNamedWithWhatItDid) {
  const Ran ran = disturbed("", [](const std::vector<pid_t>& ranks) {
    if (!ranks.empty()) kill(ranks.back(), SIGKILL);
  });
  EXPECT_EQ(ran.code, 4);
  EXPECT_LT(seconds_, 20);
  EXPECT_THAT(ran.out, testing::ContainsRegex(
                           "run 1 failed: ended with code [0-9]+.*; rank 0: .*; rank 1: step [0-9]+, "));
}

TEST_F(Loop, AHungRankIsNamedWithWhatItDid) {
  const Ran ran = disturbed("--patience 2", [](const std::vector<pid_t>& ranks) {
    if (!ranks.empty()) kill(ranks.back(), SIGSTOP);
  });
  EXPECT_EQ(ran.code, 4);
  EXPECT_THAT(ran.out, testing::ContainsRegex(
                           "run 1 failed: said nothing for too long; rank 0: .*; rank 1: step [0-9]+, "));
}

TEST_F(Loop, StoppedItLeavesNothing) {
  disturbed("--json stopped.json", [&](const std::vector<pid_t>&) {
    for (const pid_t each : running("trainwright", "stopped.json")) kill(each, SIGTERM);
  });
  EXPECT_LT(seconds_, 5);
  EXPECT_NO_THROW(load_json(space_->path("stopped.json"))) << "predictions are written before the run, whole";
}

TEST_F(Loop, AFullDiskEndsItBeforeTheFirstRun) {
  const std::set<std::string> before = space_->files();
  const Ran ran = space_->run_line("sh -c 'ulimit -f 1; trap \"\" XFSZ; exec " + program() +
                                   "confirm --plan plan.json --top 2 --json full.json'");
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("full.json: cannot write: File too large"));
  EXPECT_THAT(ran.err, Not(HasSubstr("step ")));
  EXPECT_EQ(space_->files(), before);
}

TEST_F(Loop, CalibrateOnAFullDisk) {
  const std::string small = space_->path("small");
  std::filesystem::create_directory(small);
  if (mount("tmpfs", small.c_str(), "tmpfs", 0, "size=4k") != 0)
    GTEST_SKIP() << "needs to mount a small disk";
  const Ran ran = space_->run({"calibrate", "--ranks", "2", "--seconds", "0.1", "--out", "small/k.json"});
  const bool left = !std::filesystem::is_empty(small);
  umount(small.c_str());
  EXPECT_EQ(ran.code, 2) << ran.out;
  EXPECT_THAT(ran.err, HasSubstr("small/k.rows.json: cannot write: No space left on device"));
  EXPECT_FALSE(left && std::filesystem::exists(small + "/k.json"));
  EXPECT_TRUE(within(5, [&] { return running("trainwright-calibrate", "small/k.json").empty(); }));
}

TEST_F(Loop, ACutPlanIsRefused) {
  const std::string whole = read_file(space_->path("plan.json"));
  for (const std::size_t part : {std::size_t{0}, whole.size() / 3, whole.size() / 2, whole.size() - 3}) {
    write_file(space_->path("cut.json"), whole.substr(0, part));
    const Ran ran = space_->run({"confirm", "--plan", "cut.json"});
    EXPECT_EQ(ran.code, 2) << part;
    EXPECT_THAT(ran.err, StartsWith("trainwright: cut.json: ")) << part;
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  }
}

TEST_F(Loop, AnotherMachinesCalibrationIsRefused) {
  std::string text = read_file(space_->path("here.json"));
  const std::string machine = load_json(space_->path("here.json")).at("machine").string();
  const std::size_t at = text.find("\"machine\"");
  ASSERT_NE(at, std::string::npos);
  write_file(space_->path("theirs.json"),
             text.replace(text.find(machine, at), machine.size(), "Another, 9 cores"));
  ASSERT_EQ(plan("theirs.json", "theirs-plan.json").code, 0);
  const Ran ran = space_->run({"confirm", "--plan", "theirs-plan.json", "--quiet"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("this machine is " + machine + ", not Another, 9 cores"));
}

TEST_F(Loop, ALauncherOfTheUsersOwn) {
  const Ran ran = space_->run_line(
      confirm("--steps 1 --quiet --json own.json --launcher 'env TW_OWN=1 mpirun --oversubscribe "
              "--allow-run-as-root -n {ranks}'"));
  EXPECT_THAT(ran.err, IsEmpty());
  EXPECT_TRUE(load_json(space_->path("own.json")).at("layouts")[0].find("measured"));
  const Ran none = space_->run_line(confirm("--launcher no-such-program"));
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("no-such-program: cannot be started"));
}

// Output of nccl-tests as it was printed, a line of it damaged.
TEST(Import, NcclTestsAreRows) {
  const Workspace workspace;
  const std::string head =
      "$ all_reduce_perf -b 8M -e 16M -f 2\n# nThread 1 nGpus 1 minBytes 8388608 maxBytes 16777216 step: "
      "2(factor) "
      "warmup iters: 5 iters: 20 agg iters: 1 validation: 1 graph: 0\n#\n# Using devices\n"
      "#  Rank  0 Group  0 Pid 10 on host0 device  0 [0x1b] NVIDIA H100 80GB HBM3\n"
      "#  Rank  1 Group  0 Pid 11 on host0 device  1 [0x1b] NVIDIA H100 80GB HBM3\n"
      "#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw "
      "  busbw "
      "#wrong\n#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us) "
      " (GB/s) "
      " (GB/s)\n";
  const std::string row =
      "     8388608       2097152     float     sum      -1    91.10   92.08   92.08      0    94.94   88.36 "
      "  88.36 "
      "     0\n";
  write_file(workspace.path("good.log"), head + row + "    16777216       4194304     float     sum\n");
  const std::string import = program() + "calibrate import-nccl-tests ",
                    options = " --gpu h100-sxm --out rows.json";
  const auto good = workspace.run_line(import + "good.log" + options);
  EXPECT_EQ(good.code, 0) << good.err;
  EXPECT_THAT(good.err, HasSubstr("not read: "));
  const JsonView rows = load_json(workspace.path("rows.json")).at("collectives");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].at("bytes").string(), "8 MiB");
  EXPECT_EQ(workspace.run_line(import + "none.log" + options).code, 2);
  EXPECT_EQ(workspace.run_line(import + "good.log --gpu h9 --out rows.json").code, 2);
  EXPECT_EQ(workspace.run_line(import + "good.log --nodes 0" + options).code, 2);
}

}  // namespace
}  // namespace tw
