// The examples of README.md are run, and print what it shows: up to "..." or the end of the block,
// the wall time of a search apart. Its scoreboard is what `validate --markdown` prints.
#include <gtest/gtest.h>

#include <regex>
#include <sstream>

#include "tests/support/program.hpp"

namespace tw {
namespace {

struct Example {
  std::vector<std::string> args;
  std::vector<std::string> shown;
};

constexpr std::string_view kPrompt = "$ build/release/bin/trainwright ";

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

std::vector<Example> examples_of(const std::string& readme) {
  std::vector<Example> out;
  std::istringstream lines(readme);
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(kPrompt)) {
      std::string command = line.substr(kPrompt.size());
      while (command.ends_with('\\') && std::getline(lines, line)) {
        command.back() = ' ';
        command += line;
      }
      out.push_back({words_of(command), {}});
      inside = true;
    } else if (line == "```" || line == "...") {
      inside = false;
    } else if (inside) {
      out.back().shown.push_back(line);
    }
  }
  return out;
}

std::string without_wall_time(const std::string& line) {
  return std::regex_replace(line, std::regex("[0-9.]+ s; nothing left out"), "nothing left out");
}

TEST(Readme, ExamplesPrintWhatItShows) {
  const std::vector<Example> examples = examples_of(read_file(TW_SOURCE_DIR "/README.md"));
  ASSERT_EQ(examples.size(), 8u);
  const Workspace workspace;
  for (const Example& example : examples) {
    std::string command = "cd '" TW_SOURCE_DIR "' && '" TW_BINARY_DIR "/bin/trainwright'";
    for (const std::string& arg : example.args) command += " '" + arg + "'";
    const Ran ran = workspace.run_line(command);
    EXPECT_EQ(ran.code, 0) << ran.err;
    std::istringstream said(ran.out);
    for (const std::string& shown : example.shown) {
      std::string line;
      std::getline(said, line);
      EXPECT_EQ(without_wall_time(line), without_wall_time(shown));
    }
  }
}

TEST(Readme, ScoreboardIsWhatValidatePrints) {
  const std::string readme = read_file(TW_SOURCE_DIR "/README.md");
  const std::string from = "<!-- trainwright validate --markdown, by tests/update_goldens.sh -->\n",
                    to = "<!-- end -->";
  const std::size_t start = readme.find(from), end = readme.find(to);
  ASSERT_NE(start, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  const Ran ran = Workspace().run({"validate", "--markdown"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(readme.substr(start + from.size(), end - start - from.size()), ran.out)
      << "run tests/update_goldens.sh";
}

}  // namespace
}  // namespace tw
