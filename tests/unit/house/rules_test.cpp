#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/house/source.hpp"

namespace tw::house {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Rules, CodeIsWhatIsNeitherCommentNorText) {
  EXPECT_EQ(code_of("a // b\nc"), "a     \nc");
  EXPECT_EQ(code_of("a /* b\nc */ d"), "a     \n     d");
  EXPECT_EQ(code_of("f(\"1e9 \\\" //\", 'x') 1"), "f(" + std::string(11, ' ') + ",    ) 1");
  EXPECT_EQ(code_of("1'000'000"), "1'000'000");
  EXPECT_EQ(code_of("R\"x(a\")x\" b"), "R" + std::string(9, ' ') + "b");
}

TEST(Rules, IncludesFollowTheFolders) {
  EXPECT_THAT(forbidden_includes({"costmodel/a.cpp", "#include \"topology/b.hpp\"\n#include <map>\n"}),
              IsEmpty());
  EXPECT_THAT(forbidden_includes({"topology/a.hpp", "\n# include \"costmodel/b.hpp\"\n"}),
              ElementsAre("topology/a.hpp:2: topology may not include \"costmodel/b.hpp\""));
  for (const char* edge :
       {"planner/a.cpp calibrate/b.hpp", "planner/a.cpp kernels/b.hpp", "train/a.cpp planner/b.hpp",
        "reports/a.cpp planner/b.hpp", "kernels/a.cu costmodel/b.hpp", "costmodel/a.cpp b.hpp",
        "costmodel/a.cpp ../topology/b.hpp", "costmodel/a.cpp topology/../planner/b.hpp"}) {
    const std::string text = edge;
    const std::size_t space = text.find(' ');
    const std::string line = "#include \"" + text.substr(space + 1) + "\"";
    EXPECT_EQ(forbidden_includes({text.substr(0, space), line}).size(), 1u) << edge;
  }
  EXPECT_EQ(forbidden_includes({"misc/a.cpp", ""}).size(), 1u);
}

TEST(Rules, FilesAreShort) {
  EXPECT_THAT(too_long({"a.cpp", "1\n2\n3\n"}, 3), IsEmpty());
  EXPECT_THAT(too_long({"a.cpp", "1\n2\n3\n4\n"}, 3), ElementsAre("a.cpp:3: 4 lines, at most 3"));
}

TEST(Rules, UnitFactorsAreFound) {
  for (const char* code :
       {"x * 1e9", "x / 1e12", "2.5e+6", "1E3f", "1000", "1'000'000", "1000.0", "1024", "1024.f", "1048576LL",
        "1ull << 30", "x*1e15;", "1073741824", "constexpr double kGiga = 1e9;", "double kMaxRate = 1e9;",
        "constexpr double kMaximum = 1e9;"}) {
    EXPECT_EQ(unit_factors({"a.cpp", code}).size(), 1u) << code;
  }
  for (const char* code : {"1e-9",
                           "1e2",
                           "1e18",
                           "100",
                           "1001",
                           "4096",
                           "2000",
                           "x1000",
                           "k1e9",
                           "0x400",
                           "1.024",
                           "// 1e9",
                           "\"1e9\"",
                           "a1024",
                           "1 << 3",
                           "out << 100",
                           "10.1000",
                           "constexpr int kMaxStages = 256, kMaxChunks = 1024;",
                           "inline constexpr int kMostGpus = 1 << 20;",
                           "constexpr int kGpuLimit = 1 << 20;"}) {
    EXPECT_THAT(unit_factors({"a.cpp", code}), IsEmpty()) << code;
  }
  EXPECT_THAT(unit_factors({"a.cpp", "\n\n f(3, 1e9)"}),
              ElementsAre("a.cpp:3: unit factor 1e9; it belongs in topology/units"));
}

TEST(Rules, WordsAreFoundInCodeOnly) {
  EXPECT_THAT(words({"a.hpp", "x\nvirtual void f();"}, {"virtual", "getenv"}),
              ElementsAre("a.hpp:2: \"virtual\" has no place here"));
  EXPECT_EQ(words({"a.hpp", "std::getenv(name)"}, {"virtual", "getenv"}).size(), 1u);
  EXPECT_THAT(words({"a.hpp", "// virtual\n\"virtual\" virtual_rank"}, {"virtual", "getenv"}), IsEmpty());
}

TEST(Rules, MachinePathsAreFound) {
  for (const char* folder : {"work", "root", "tmp", "home"}) {
    const std::string path = "/" + std::string(folder) + "/x";
    EXPECT_EQ(machine_paths({"a.cpp", "open(\"" + path + "\")"}).size(), 1u) << folder;
    EXPECT_EQ(machine_paths({"a.sh", path}).size(), 1u) << folder;
    EXPECT_THAT(machine_paths({"a.cpp", "build" + path}), IsEmpty()) << folder;
  }
  EXPECT_THAT(machine_paths({"a.cpp", "/usr/include/x"}), IsEmpty());
}

}  // namespace
}  // namespace tw::house
