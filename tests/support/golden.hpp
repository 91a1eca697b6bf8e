// Golden files: tests/golden/NAME is what was reviewed, BUILD/goldens/NAME what this build makes.
// tests/update_goldens.sh copies the second over the first; the diff is reviewed.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "topology/json.hpp"

namespace tw {

inline void expect_golden(std::string_view name, std::string_view text) {
  namespace fs = std::filesystem;
  const fs::path made = fs::path(TW_BINARY_DIR) / "goldens" / name;
  const fs::path reviewed = fs::path(TW_SOURCE_DIR) / "tests/golden" / name;
  fs::create_directories(made.parent_path());
  write_file(made.string(), text);
  ASSERT_TRUE(fs::exists(reviewed)) << "no golden " << name << "; run tests/update_goldens.sh";
  EXPECT_EQ(read_file(reviewed.string()), text)
      << "differs from tests/golden/" << name << "; if it should, run tests/update_goldens.sh";
}

}  // namespace tw
