#include "train/device/arena.hpp"

#include <gtest/gtest.h>

namespace tw::train {
namespace {

constexpr std::int64_t kUnit = Arena::kAlign;

TEST(Arena, BlocksLieSideBySideAndAreRoundedUp) {
  Arena arena;
  EXPECT_EQ(arena.take(1), 0);
  EXPECT_EQ(arena.take(kUnit + 1), kUnit);
  EXPECT_EQ(arena.take(0), 3 * kUnit);
  EXPECT_EQ(arena.in_use(), 4 * kUnit);
  EXPECT_EQ(arena.extent(), 4 * kUnit);
}

TEST(Arena, TheSmallestHoleThatFitsIsTaken) {
  Arena arena;
  const std::int64_t large = arena.take(4 * kUnit), wall = arena.take(kUnit), small = arena.take(2 * kUnit);
  arena.take(kUnit);
  arena.give(large), arena.give(small);
  EXPECT_EQ(arena.take(2 * kUnit), small);
  EXPECT_EQ(arena.take(3 * kUnit), large);
  EXPECT_EQ(arena.take(kUnit), large + 3 * kUnit);
  EXPECT_GT(arena.extent(), wall);
}

TEST(Arena, FreeNeighboursBecomeOne) {
  Arena arena;
  const std::int64_t a = arena.take(kUnit), b = arena.take(kUnit), c = arena.take(kUnit);
  arena.take(kUnit);
  EXPECT_FALSE(arena.fits(3 * kUnit));
  arena.give(a), arena.give(c), arena.give(b);
  EXPECT_TRUE(arena.fits(3 * kUnit));
  EXPECT_FALSE(arena.fits(4 * kUnit));
  EXPECT_EQ(arena.take(3 * kUnit), a);
  EXPECT_EQ(arena.extent(), 4 * kUnit);
}

// Of 3 units and a hole of 1 at the end: 2 more need only 1 more of the range.
TEST(Arena, AHoleAtTheEndGrows) {
  Arena arena;
  arena.take(2 * kUnit);
  const std::int64_t last = arena.take(kUnit);
  arena.give(last);
  EXPECT_EQ(arena.take(2 * kUnit), last);
  EXPECT_EQ(arena.extent(), 4 * kUnit);
  EXPECT_EQ(arena.peak(), 4 * kUnit);
}

}  // namespace
}  // namespace tw::train
