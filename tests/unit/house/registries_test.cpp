#include "tests/unit/house/registries.hpp"

#include <gtest/gtest.h>

#include <set>

#include "tests/support/golden.hpp"

namespace tw::house {
namespace {

constexpr const char* kKinds[] = {"gpus", "clusters", "models", "frameworks", "calibrations", "measured", "studies"};

TEST(Registries, AreThoseOfTheGolden) {
  std::string text;
  for (const RegistryNames& registry : registries()) {
    for (const std::string& name : registry.names) text += registry.folder + " " + name + "\n";
  }
  for (const char* kind : kKinds) {
    for (const std::string& name : scenario_names(kind)) text += std::string(kind) + " " + name + "\n";
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
