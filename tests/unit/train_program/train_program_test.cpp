// The program trainwright-train under mpirun, as a user starts it: what it prints, what it refuses, and
// that it goes on from a file. Every refusal ends on all ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <sstream>

#include "tests/support/program.hpp"

namespace tw {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

const std::string kModel = TW_SOURCE_DIR "/scenarios/toys/toy-moe.json";
const std::string kProgram = quoted(TW_BINARY_DIR "/bin/trainwright-train");
const std::string kStart = quoted(TW_MPIEXEC) + " --oversubscribe --allow-run-as-root -n ";

Ran train(const Workspace& workspace, int ranks, const std::string& args) {
  return workspace.run_line(kStart + std::to_string(ranks) + " " + kProgram + " " + args);
}
std::string usual(const std::string& more) {
  return "--model " + quoted(kModel) + " --global-batch 8 --seq 16 --learning-rate 0.003 " + more;
}

std::vector<std::string> lines_with(const std::string& text, const std::string& begin) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(begin)) out.push_back(line);
  }
  return out;
}
// Without the times.
std::string losses(const Ran& ran) {
  std::string out;
  for (const std::string& line : lines_with(ran.out, "step ")) out += line.substr(0, line.rfind("  ")) + "\n";
  return out;
}

TEST(TrainProgram, HelpNamesEveryOption) {
  const Workspace workspace;
  const Ran ran = train(workspace, 2, "--help");
  EXPECT_EQ(ran.code, 0) << ran.err;
  for (const char* option :
       {"--model",  "--layout",  "--global-batch",   "--seq",       "--steps",         "--dtype",
        "--data",   "--save",    "--save-every",     "--resume",    "--json",          "--quiet",
        "--status", "--machine", "--framework",      "--seed",      "--learning-rate", "--weight-decay",
        "--clip",   "--balance", "--balance-pooled", "--deviation", "Exit codes",      "Example"})
    EXPECT_THAT(ran.out, HasSubstr(option));
  EXPECT_EQ(lines_with(ran.out, "Example").size(), 1u) << "one rank speaks";
}

TEST(TrainProgram, EveryRefusalIsOneLineAndEndsAllRanks) {
  const Workspace workspace;
  write_file(workspace.path("empty"), "");
  const std::pair<std::string, std::string> cases[] = {
      {"", "--model"},
      {usual("--nonsense 3"), "--nonsense"},
      {usual("--steps 0"), "--steps"},
      {usual("--steps many"), "--steps"},
      {usual("--dtype int8"), "--dtype"},
      {usual("--save-every 2"), "--save"},
      {usual("--layout tp=3,dp=1"), "command line: --layout: "},
      {usual("--layout dp=4,ep=3"), "command line: --layout: "},
      {usual("--layout dp=4,colour=red"), "command line: --layout: "},
      {usual("--layout dp=4,ep=4,a2a=dedup"), "leave a2a out"},
      {usual("--layout dp=4,precision=fp8-block"), "--dtype says"},
      {usual("--data " + workspace.path("missing")), "missing: data: cannot be read"},
      {usual("--data " + workspace.path("empty")), "empty: data: is empty"},
      {usual("--resume " + workspace.path("missing")), "missing: cannot be read: No such file"},
      {usual("--resume " + workspace.path("empty")), "empty: is no checkpoint; legal"},
      {usual("--steps 1 --save " + workspace.path("no/where")), "no/where: cannot be written"},
      {"--model gpt3-175b --global-batch 4 --seq 16", "LayerNorm: the trainer has no operator for it"},
      {usual("--machine nowhere"), "--machine: this machine is "},
      {"--model nowhere --global-batch 4 --seq 16", "nowhere"}};
  for (const auto& [args, words] : cases) {
    const Ran ran = train(workspace, 4, args);
    EXPECT_EQ(ran.code, 2) << args << "\n" << ran.err;
    const std::vector<std::string> said = lines_with(ran.err, "trainwright-train: ");
    ASSERT_EQ(said.size(), 1u) << args << "\n" << ran.err;
    EXPECT_THAT(said[0], HasSubstr(words)) << args;
    EXPECT_EQ(losses(ran), "") << args;
  }
  EXPECT_EQ(workspace.files(), std::set<std::string>{"empty"});
}

TEST(TrainProgram, GoesOnFromAFileOfAnotherLayout) {
  const Workspace workspace;
  const Ran straight = train(workspace, 1, usual("--steps 4 --dtype fp64"));
  EXPECT_EQ(straight.code, 0) << straight.err;
  const Ran first = train(workspace, 4, usual("--steps 2 --dtype fp64 --layout pp=2,tp=2,ep=2 --save run"));
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("saved run\n"));
  const Ran second =
      train(workspace, 2, usual("--steps 2 --dtype fp64 --layout dp=2,ep=2,zero=3 --resume run"));
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(lines_with(straight.out, "step ").size(), 4u);
  EXPECT_EQ(losses(first) + losses(second), losses(straight));
  EXPECT_EQ(workspace.files(), std::set<std::string>{"run"});
  const Ran other = train(workspace, 2, usual("--resume run --dtype fp64 --seed 2"));
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err,
              HasSubstr("run: data: is \"pattern 1 of 256\" in the file and \"pattern 2 of 256\""));
}

TEST(TrainProgram, ReadsBytesAndWritesJson) {
  const Workspace workspace;
  std::string text;
  for (int i = 0; i < 400; ++i) text += "abcdefgh";
  write_file(workspace.path("text"), text);
  const Ran ran = train(workspace, 2, usual("--steps 12 --data text --json out.json --quiet --dtype fp32"));
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, StartsWith("loss "));
  EXPECT_EQ(lines_with(ran.out, "").size(), 1u) << ran.out;
  const JsonView out = load_json(workspace.path("out.json"));
  ASSERT_EQ(out.at("loss").size(), 12u);
  EXPECT_NEAR(out.at("loss")[0].number(), std::log(256.0), 0.2);  // nothing known yet
  EXPECT_LT(out.at("loss")[11].number(), 0.8 * out.at("loss")[0].number());
  EXPECT_GT(out.at("tokens_per_s").number(), 0);
  EXPECT_GT(out.at("peak_bytes").integer(), 100000);
}

// The example of README.md prints what it shows, times and rates apart.
TEST(TrainProgram, ReadmeExamplePrintsWhatItShows) {
  const std::string readme = read_file(TW_SOURCE_DIR "/README.md"), prompt = "$ mpirun ";
  std::size_t at = readme.find(prompt);
  ASSERT_NE(at, std::string::npos);
  ASSERT_EQ(readme.find(prompt, at + 1), std::string::npos);
  const std::string block = readme.substr(at, readme.find("```", at) - at);
  std::string command, shown;
  std::istringstream lines(block);
  for (std::string line; std::getline(lines, line);) {
    const bool goes_on = command.empty() || command.ends_with('\\');
    if (command.ends_with('\\')) command.back() = ' ';
    (goes_on ? command : shown) += goes_on ? line : line + "\n";
  }
  command = std::regex_replace(command.substr(prompt.size()),
                               std::regex("build/release/bin/trainwright-train"), kProgram);
  const Workspace workspace;
  std::filesystem::create_directory_symlink(TW_SOURCE_DIR "/scenarios", workspace.in() / "scenarios");
  const Ran ran = workspace.run_line(quoted(TW_MPIEXEC) + " --allow-run-as-root " + command);
  EXPECT_EQ(ran.code, 0) << ran.err;
  const auto without_times = [](const std::string& text) {
    return std::regex_replace(text, std::regex("[0-9.]+ ms|[0-9,]+ tokens/s"), "#");
  };
  EXPECT_EQ(without_times(ran.out), without_times(shown));
}

}  // namespace
}  // namespace tw
