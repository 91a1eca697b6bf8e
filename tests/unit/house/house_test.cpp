#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/house/source.hpp"
#include "topology/json.hpp"

namespace tw::house {
namespace {

using testing::IsEmpty;

const std::vector<std::string> kModel = {"topology", "costmodel", "reports", "planner"};
const std::vector<std::string> kAll = {"topology", "costmodel", "reports", "planner",
                                       "kernels",  "calibrate", "train",   "tests"};
const std::vector<std::string> kCode = {".cpp", ".hpp", ".cu", ".cuh"};
const std::vector<std::string> kBuild = {"Makefile", "CMakeLists.txt", "CMakePresets.json", "README.md",
                                         "cmake",    "setup",          "scenarios"};

template <class Rule>
Findings all_of(const std::vector<SourceFile>& files, const Rule& rule) {
  EXPECT_FALSE(files.empty());
  Findings all;
  for (const SourceFile& file : files) {
    const Findings found = rule(file);
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

std::vector<SourceFile> text_files() {
  std::vector<SourceFile> files =
      files_under(kAll, {".cpp", ".hpp", ".cu", ".cuh", ".sh", ".cmake", ".txt", ".json"});
  for (SourceFile& file : files_under(kBuild, {".cmake", ".sh", ".json"})) files.push_back(std::move(file));
  return files;
}

TEST(House, FoldersDependOneWay) {
  EXPECT_THAT(all_of(files_under(kAll, kCode), forbidden_includes), IsEmpty());
}

TEST(House, FilesHaveAtMost400Lines) {
  EXPECT_THAT(all_of(files_under(kAll, kCode), [](const SourceFile& file) { return too_long(file, 400); }),
              IsEmpty());
}

TEST(House, UnitFactorsStandInUnitsAlone) {
  EXPECT_THAT(all_of(files_under(kModel, kCode),
                     [](const SourceFile& file) {
                       return file.path == "topology/units.cpp" ? Findings{} : unit_factors(file);
                     }),
              IsEmpty());
}

// Launching needs the search path and the scheduler's variables: planner/child.cpp alone reads them.
TEST(House, TheModelHasNoVirtualFunctionAndNoEnvironment) {
  const std::vector<std::string> forbidden = {"virtual", "getenv", "secure_getenv",
                                              "setenv",  "putenv", "environ"};
  EXPECT_THAT(all_of(files_under(kModel, kCode),
                     [&](const SourceFile& file) {
                       return file.path == "planner/child.cpp" ? Findings{} : words(file, forbidden);
                     }),
              IsEmpty());
}

// The trainer knows a Program and no layout.
TEST(House, TheTrainerNamesNoDimension) {
  const std::vector<std::string> forbidden = {"tp",  "cp",   "ep",   "dp",     "pp",  "etp",
                                              "edp", "zero", "hsdp", "Layout", "Dim", "layout"};
  const std::vector<SourceFile> files = files_under({"train"}, kCode);
  EXPECT_GT(files.size(), 10u);
  EXPECT_THAT(all_of(files, [&](const SourceFile& file) { return words(file, forbidden); }), IsEmpty());
}

TEST(House, NoPathOfOneMachine) {
  EXPECT_THAT(all_of(text_files(), machine_paths), IsEmpty());
}

// "source" or "_source", with something in it.
bool names_source(const JsonView& node) {
  if (!node.is_object()) return false;
  const auto source = node.find("source") ? node.find("source") : node.find("_source");
  return source && (!source->is_string() || !source->string().empty());
}

bool each_names_source(const JsonView& list) {
  if (!list.is_array() || list.size() == 0) return false;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!names_source(list[i])) return false;
  }
  return true;
}

// A document says where it comes from: itself, or in every entry of one of its lists, or as a list.
bool has_source(const JsonView& node) {
  if (names_source(node) || each_names_source(node)) return true;
  if (!node.is_object()) return false;
  const std::vector<std::string> keys = node.keys();
  return std::any_of(keys.begin(), keys.end(), [&](const std::string& key) {
    const auto list = node.find(key);
    return list && each_names_source(*list);
  });
}

TEST(House, ASourceIsAKeyOfTheDocumentOrOfEachEntry) {
  for (const char* text :
       {R"({"source": "x"})", R"({"_source": ["x"]})", R"([{"source": "x"}, {"source": "y"}])",
        R"({"rows": [{"source": "x"}, {"source": "y"}]})"}) {
    EXPECT_TRUE(has_source(parse_json(text, "planted"))) << text;
  }
  for (const char* text : {R"({"a": {"source": "x"}})", R"({"source": ""})", "[]", R"([{"source": "x"}, {}])",
                           "1", R"({"rows": [{"source": "x"}, {}]})", R"({"rows": []})"}) {
    EXPECT_FALSE(has_source(parse_json(text, "planted"))) << text;
  }
}

TEST(House, EveryScenarioNamesItsSource) {
  for (const SourceFile& file : files_under({"scenarios"}, {".json"})) {
    EXPECT_TRUE(has_source(parse_json(file.text, file.path)))
        << file.path << ": no \"source\" or \"_source\"";
  }
}

}  // namespace
}  // namespace tw::house
