// Shell scripts as people write them, held against what bash prints for the same text (5.2, by hand).
#include "planner/preflight/shell.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "topology/check.hpp"

namespace tw::preflight {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> last_words(std::string_view text, const ShellVariables& given = {}) {
  const ShellReading reading = read_shell(text, "planted.sh", given);
  return reading.commands.empty() ? std::vector<std::string>() : reading.commands.back().words;
}

TEST(Shell, ArraysContinuationsAndQuotes) {
  EXPECT_THAT(last_words("A=( --x 1   # one\n  --y 'two words' \"t\"hree )\nrun \"${A[@]}\" \\\n  --z\n"),
              ElementsAre("run", "--x", "1", "--y", "two words", "three", "--z"));
  EXPECT_THAT(last_words("A=(--x 'a b')\nrun ${A[@]}\n"), ElementsAre("run", "--x", "a", "b"));
  EXPECT_THAT(last_words("A=()\nrun \"${A[@]}\" end\n"), ElementsAre("run", "end"));
  EXPECT_THAT(last_words("A=(a)\nA+=(b c)\nrun ${#A[@]} ${A[1]}\n"), ElementsAre("run", "3", "b"));
  EXPECT_THAT(last_words("OPTS=\" --x 1 \\\n  --y 2\"\nOPTS+=\" --z\"\nrun $OPTS\n"),
              ElementsAre("run", "--x", "1", "--y", "2", "--z"));
}

TEST(Shell, DefaultsAndArithmetic) {
  EXPECT_THAT(last_words("run ${N:-\"8\"} ${M:=4} $M ${K-} x\n"), ElementsAre("run", "8", "4", "4", "x"));
  EXPECT_THAT(last_words("G=8\nN=${NODES:-2}\nrun $(($G*$N)) $((G * (N + 1) % 5))\n"),
              ElementsAre("run", "16", "4"));
  EXPECT_THAT(last_words("run ${N:-8}\n", {{"N", {"2"}}}), ElementsAre("run", "2"));
  EXPECT_THAT(last_words("N=8\nrun $N\n", {{"N", {"2"}}}), ElementsAre("run", "2"));  // --set wins
}

TEST(Shell, WhatIsNotKnownStays) {
  EXPECT_THAT(last_words("run $1 ${HOST} \"$(hostname):$PORT\" `date`\n"),
              ElementsAre("run", "${1}", "${HOST}", "$(hostname):${PORT}", "$(date)"));
  EXPECT_TRUE(is_open("a${B}"));
  EXPECT_FALSE(is_open("$5"));
}

TEST(Shell, Branches) {
  const char* sizes =
      "SIZE=7B\nif [[ $SIZE == 7B ]]; then L=32; elif [ $SIZE = 13B ]; then L=40; else L=1; fi\nrun $L\n";
  EXPECT_THAT(last_words(sizes), ElementsAre("run", "32"));
  EXPECT_THAT(last_words("N=2\nif [ $N -gt 1 ]; then\n  X=many\nelse\n  X=one\nfi\nrun $X\n"),
              ElementsAre("run", "many"));
  EXPECT_THAT(last_words("[ -z \"$T\" ] && T=5\nrun $T\n"), ElementsAre("run", "5"));
  EXPECT_THAT(last_words("case 7B in\n 13B) L=40 ;;\n 7B|7b) L=32 ;;\n *) L=1 ;;\nesac\nrun $L\n"),
              ElementsAre("run", "32"));
  const ShellReading open = read_shell("L=1\nif [ -d /data ]; then L=2; fi\nrun $L\n", "planted.sh", {});
  EXPECT_THAT(open.commands.back().words, ElementsAre("run", "1"));
  EXPECT_THAT(open.not_understood, ElementsAre(HasSubstr("line 2")));
}

TEST(Shell, LoopsFunctionsAndPipes) {
  const ShellReading loop = read_shell("for n in 2 4; do run $n; done\n", "planted.sh", {});
  EXPECT_THAT(loop.commands.back().words, ElementsAre("run", "2"));
  EXPECT_THAT(loop.not_understood, ElementsAre(HasSubstr("a loop")));
  const ShellReading function = read_shell("go() {\n  rm x\n}\nrun 1 2>&1 | tee log.txt\n", "planted.sh", {});
  ASSERT_EQ(function.commands.size(), 1u);
  EXPECT_THAT(function.commands[0].words, ElementsAre("run", "1"));
}

TEST(Shell, DocumentsEvalAndBatchOptions) {
  const ShellReading reading = read_shell(
      "#SBATCH --nodes=4 --ntasks-per-node=8\nS=3\ncat <<EOT > $PWD_X/ds.json\n{\"stage\": "
      "$S}\nEOT\ncmd=\"run --x 1\"\n"
      "eval $cmd\n",
      "planted.sh", {{"PWD_X", {"here"}}});
  EXPECT_EQ(reading.documents.at("here/ds.json"), "{\"stage\": 3}\n");
  EXPECT_THAT(reading.batch_options, ElementsAre("--nodes=4", "--ntasks-per-node=8"));
  EXPECT_THAT(reading.commands.back().words, ElementsAre("run", "--x", "1"));
}

TEST(Shell, WhatDoesNotEndIsOneLine) {
  for (const char* text : {"run 'a", "run \"a", "run $(a", "run ${a", "A=(a", "cat <<EOF\nx\n",
                           "if [ 1 ]; then\nrun\n", "run `a", "case x in\n", "run $((1"}) {
    EXPECT_THROW(read_shell(text, "planted.sh", {}), InputError) << text;
  }
  EXPECT_THAT(read_shell("", "planted.sh", {}).commands, IsEmpty());
}

}  // namespace
}  // namespace tw::preflight
