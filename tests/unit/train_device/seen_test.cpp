// Blocks of a sequence of 8 over two ranks, by hand; and over four ranks against the definition.
#include "train/device/seen.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace tw::train {
namespace {

using Positions = std::vector<std::int32_t>;

TEST(Seen, ContiguousPieces) {
  const Positions early = {0, 1, 2, 3}, late = {4, 5, 6, 7};
  EXPECT_EQ(seen(early, early), (Seen{0, 4, 4, true}));
  EXPECT_EQ(seen(late, early), (Seen{0, 4, 4, false}));
  EXPECT_EQ(seen(early, late), (Seen{}));
}

TEST(Seen, ZigzagHalves) {
  const Positions outer = {0, 1, 6, 7}, inner = {2, 3, 4, 5};
  EXPECT_EQ(seen(inner, inner), (Seen{0, 4, 4, true}));
  EXPECT_EQ(seen(outer, inner), (Seen{2, 2, 4, false}));
  EXPECT_EQ(seen(inner, outer), (Seen{0, 4, 2, false}));
}

Positions piece_of(int rank, int ranks, int length, bool zigzag) {
  Positions out;
  const int piece = length / (zigzag ? 2 * ranks : ranks);
  for (int i = 0; i < piece; ++i) out.push_back(rank * piece + i);
  for (int i = 0; zigzag && i < piece; ++i) out.push_back((2 * ranks - 1 - rank) * piece + i);
  return out;
}

TEST(Seen, EveryPairOfFourRanksByDefinition) {
  for (const bool zigzag : {false, true}) {
    for (int q = 0; q < 4; ++q) {
      for (int k = 0; k < 4; ++k) {
        const Positions queries = piece_of(q, 4, 32, zigzag), keys = piece_of(k, 4, 32, zigzag);
        const Seen got = seen(queries, keys);
        for (std::size_t i = 0; i < queries.size(); ++i) {
          for (std::size_t j = 0; j < keys.size(); ++j) {
            const auto row = static_cast<std::int64_t>(i), column = static_cast<std::int64_t>(j);
            const bool inside = row >= got.first && row < got.first + got.count && column < got.keys &&
                                (!got.causal || column <= row);
            ASSERT_EQ(inside, keys[j] <= queries[i]) << zigzag << q << k << i << j;
          }
        }
      }
    }
  }
}

// A staircase is no rectangle.
TEST(Seen, RefusesWhatIsNeither) {
  const Positions odd = {1, 3, 5}, even = {0, 2, 4};
  EXPECT_DEATH(seen(odd, even), "internal check failed");
}

}  // namespace
}  // namespace tw::train
