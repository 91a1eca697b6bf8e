// The command from outside: exit codes, one line of complaint, keys of the JSON.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "topology/json.hpp"

namespace tw {
namespace {

namespace fs = std::filesystem;

struct Ran {
  int code = 0;
  std::string out, err;
};

Ran validate(const std::string& options) {
  const fs::path folder = fs::path(TW_BINARY_DIR) / "validate_command_test";
  fs::create_directories(folder);
  const std::string out = (folder / "out").string(), err = (folder / "err").string();
  const std::string program = "'" TW_BINARY_DIR "/bin/trainwright' validate ";
  const int status = std::system((program + options + " >'" + out + "' 2>'" + err + "'").c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out), read_file(err)};
}

TEST(ValidateCommand, BadInputIsOneLineAndExitTwo) {
  const std::string broken = (fs::path(TW_BINARY_DIR) / "validate_broken.json").string();
  write_file(broken, "{\"rows\": 7}");
  for (const std::string& options :
       {std::string("--rows no-such-file.json"), std::string("--rows ''"), "--rows '" + broken + "'",
        std::string("--framework no-such"), std::string("--calibration no-such"),
        std::string("--study 'nobody wrote this'"), std::string("--json /no/such/folder/x.json"),
        std::string("--no-such-option")}) {
    const Ran ran = validate(options);
    EXPECT_EQ(ran.code, 2) << options << ran.out;
    EXPECT_EQ(ran.out, "") << options;
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << options << ": " << ran.err;
  }
}

TEST(ValidateCommand, JsonHasTheKeysOfTheContract) {
  const Ran ran = validate("--study 'Table 1' --json -");
  ASSERT_EQ(ran.code, 0) << ran.err;
  const JsonView result = parse_json(ran.out, "stdout");
  const JsonView row = result.at("rows")[0];
  for (const char* key :
       {"id", "source", "used", "filled", "predicted", "measured", "time_ratio", "fits_predicted"}) {
    EXPECT_TRUE(row.find(key)) << key;
  }
  const JsonView study = result.at("studies")[0];
  for (const char* key : {"source", "n", "used", "time_mape", "time_worst", "fit_accuracy", "coverage"}) {
    EXPECT_TRUE(study.find(key)) << key;
  }
  EXPECT_EQ(result.at("overall").at("n").integer(), 10);
}

TEST(ValidateCommand, QuestionsHaveSignsAndReasons) {
  const Ran ran = validate("--studies --study liger-batch --json -");
  ASSERT_EQ(ran.code, 0) << ran.err;
  const JsonView question = parse_json(ran.out, "stdout").at("questions")[0];
  for (const char* key : {"name", "question", "compare", "cases", "right", "pairs", "better", "ratio", "why"})
    EXPECT_TRUE(question.find(key)) << key;
  EXPECT_EQ(question.at("cases").size(), 2u);
  EXPECT_EQ(question.at("better").at("measured").string(), "liger-bf16-bs4");
  for (const char* options :
       {"--studies --study nobody-asked", "--studies --framework megatron", "--studies --list-rows"})
    EXPECT_EQ(validate(options).code, 2) << options;
}

TEST(ValidateCommand, AFrameworkForAllRows) {
  const Ran ran = validate("--study 'Table 1' --framework megatron-2021 --json -");
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(parse_json(ran.out, "stdout").at("rows")[0].at("predicted").at("framework").string(),
            "megatron-2021");
}

}  // namespace
}  // namespace tw
