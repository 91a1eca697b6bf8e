#include "tests/unit/house/registries.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "tests/support/golden.hpp"

namespace tw::house {
namespace {

// The folders of scenarios/, sorted.
std::vector<std::string> scenario_kinds() {
  std::vector<std::string> kinds;
  for (const auto& entry : std::filesystem::directory_iterator(scenarios_folder())) {
    if (entry.is_directory()) kinds.push_back(entry.path().filename().string());
  }
  std::sort(kinds.begin(), kinds.end());
  return kinds;
}

TEST(Registries, AreThoseOfTheGolden) {
  std::string text;
  for (const RegistryNames& registry : registries()) {
    for (const std::string& name : registry.names) text += registry.folder + " " + name + "\n";
  }
  for (const std::string& kind : scenario_kinds()) {
    for (const std::string& name : scenario_names(kind)) text += kind + " " + name + "\n";
  }
  expect_golden("registries.txt", text);
}

TEST(Registries, NamesAreUnique) {
  EXPECT_FALSE(registries().empty());
  for (const RegistryNames& registry : registries()) {
    const std::set<std::string> unique(registry.names.begin(), registry.names.end());
    EXPECT_EQ(unique.size(), registry.names.size()) << registry.folder;
  }
}

}  // namespace
}  // namespace tw::house
