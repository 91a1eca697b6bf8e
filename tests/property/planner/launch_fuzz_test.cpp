// Launch files, profiler traces and logs, broken at random: an answer, or one clear line; never anything
// else.
#include <gtest/gtest.h>

#include <random>

#include "planner/preflight/check.hpp"
#include "planner/preflight/profile_trace.hpp"
#include "planner/preflight/run_log.hpp"
#include "topology/check.hpp"
#include "topology/json.hpp"

namespace tw::preflight {
namespace {

constexpr int kMutants = 40;  // of each file

std::vector<std::pair<std::string, std::string>> corpus() {
  const JsonView cases = load_json(std::string(TW_SOURCE_DIR) + "/tests/launch/cases.json").at("cases");
  std::vector<std::pair<std::string, std::string>> out;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    std::string text;
    for (std::size_t k = 0; k < cases[i].at("lines").size(); ++k)
      text += cases[i].at("lines")[k].string() + "\n";
    out.emplace_back(cases[i].at("file").string(), text);
  }
  return out;
}

// A byte changed, a piece taken out, a piece doubled, a number blown up, brackets and quotes thrown in.
std::string mutated(std::string text, std::mt19937& random) {
  const auto at = [&] { return text.empty() ? 0 : random() % text.size(); };
  constexpr std::string_view kSharp = "\"'${}()[]\\`|&;<>=#,.-+*\n\t \0\xff\xc3{";
  for (auto n = random() % 4 + 1; n > 0; --n) {
    switch (random() % 6) {
      case 0:
        if (!text.empty()) text[at()] = static_cast<char>(random() % 256);
        break;
      case 1:
        text.erase(at(), random() % 40);
        break;
      case 2:
        text.insert(at(), text.substr(at(), random() % 60));
        break;
      case 3:
        text.insert(at(), 1, kSharp[random() % kSharp.size()]);
        break;
      case 4:
        text.insert(at(), std::to_string(random()) + std::to_string(random()));
        break;
      default:
        text.resize(at());
    }
  }
  return text;
}

bool one_line(const std::string& text) {
  return !text.empty() && text.find('\n') == std::string::npos;
}

TEST(LaunchFuzz, FilesOfEveryFormatAnswerOrSayOneLine) {
  std::mt19937 random(20261122);
  int answered = 0, refused = 0;
  for (const auto& [name, text] : corpus()) {
    for (int i = 0; i < kMutants; ++i) {
      const std::string mutant = mutated(text, random);
      LaunchAsk ask;
      ask.file = "planted-" + name, ask.model = i % 2 == 0 ? "" : "llama-3.2-1b", ask.cluster_gpus = 8;
      try {
        const LaunchFormat& format = launch_format("", ask.file, mutant);
        const Launch launch = read_launch(ask, mutant, format);
        ++answered;
        for (const Finding& each : launch.findings) EXPECT_FALSE(each.text.empty());
      } catch (const InputError& error) {
        ++refused;
        EXPECT_TRUE(one_line(error.what())) << error.what();
      }
    }
  }
  EXPECT_GT(answered, 100);
  EXPECT_GT(refused, 100);
}

TEST(LaunchFuzz, NoiseIsRefusedInOneLine) {
  std::mt19937 random(7);
  for (const LaunchFormat* format : all_launch()) {
    for (int i = 0; i < 400; ++i) {
      std::string noise;
      for (auto n = random() % 200; n > 0; --n) noise += static_cast<char>(random() % 256);
      LaunchAsk ask;
      ask.file = "noise", ask.cluster_gpus = 8;
      try {
        read_launch(ask, noise, *format);
      } catch (const InputError& error) {
        EXPECT_TRUE(one_line(error.what())) << error.what();
      }
    }
  }
}

TEST(LaunchFuzz, DeepNestingDoesNotOverflow) {
  constexpr int kDeep = 100000;
  for (const char* open : {"(", "$(", "${a:-", "$((", "if ", "{ ", "\"$(", "`", "x=(", "eval "}) {
    std::string text;
    for (int i = 0; i < kDeep; ++i) text += open;
    try {
      read_shell(text, "deep", {});
    } catch (const InputError& error) {
      EXPECT_TRUE(one_line(error.what()));
    }
  }
  std::string toml(kDeep, '['), json;
  for (int i = 0; i < kDeep; ++i) json += "{\"a\":";
  for (const auto& [format, text] : {std::pair("torchtitan", toml), std::pair("deepspeed", json)}) {
    LaunchAsk ask;
    ask.file = "deep", ask.cluster_gpus = 8;
    EXPECT_THROW(read_launch(ask, text, launch_format(format, "", "")), InputError);
  }
}

TEST(LaunchFuzz, LogsAreReadWhateverTheyHold) {
  std::mt19937 random(11);
  const std::string lines[] = {
      " iteration 2/ 50 | elapsed time per iteration (ms): 5740.3 | lm loss: 1.09E+01 |",
      "memory (MB) | max allocated: 51200.0 |",
      "step: 10  loss: 8.1  memory: 50.02GiB(63.2%)  tps: 6,244  mfu: 3%",
      "global_step=10, CurrSamplesPerSec=12.5, MaxMemAllocated=50.1GB",
      "global_step: 8 | train_step_timing in s: 5.81"};
  for (int i = 0; i < 20000; ++i) {
    RunLogReader reader(1000, 8);
    reader.line(mutated(lines[static_cast<std::size_t>(i) % std::size(lines)], random));
    for (const LoggedStep& each : reader.log().steps) EXPECT_GT(each.seconds, 0);
  }
}

}  // namespace
}  // namespace tw::preflight
