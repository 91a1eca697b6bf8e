// One micro-batch of two layers: embedding, layers and head are gathered for the forward, head, layers and
// embedding for the backward. The head need not be gathered again, and the embedding's backward reads no
// table.
#include "train/device/idle.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/small_models.hpp"

namespace tw::train {
namespace {

std::vector<std::string> left_out(const std::string& layout, bool tied, std::int64_t batch) {
  const Program program(small_input(small_model(false, 2, tied), layout, 2, batch));
  const View view(program, Rank(0));
  const std::vector<bool> idle = idle_traffic(view);
  std::vector<std::string> out;
  for (std::size_t i = 0; i < idle.size(); ++i) {
    const Step& step = view.steps()[i];
    if (!idle[i]) continue;
    const Unit& unit = view.units()[static_cast<std::size_t>(step.unit)];
    out.push_back((step.action == Action::gather ? "gather " : "release ") + to_string(unit));
  }
  return out;
}

using Names = std::vector<std::string>;

TEST(IdleTraffic, HeadStaysAndTheEmbeddingIsNotReadAgain) {
  EXPECT_EQ(left_out("dp=2,zero=3,mb=1", false, 2),
            (Names{"release head", "gather head", "gather embedding", "release embedding"}));
}

TEST(IdleTraffic, EveryMicroBatch) {
  const Names all = left_out("dp=2,zero=3,mb=1", false, 4);
  EXPECT_EQ(all.size(), 8u);
  EXPECT_EQ(std::count(all.begin(), all.end(), "gather embedding"), 2);
}

// The head reads the embedding's table.
TEST(IdleTraffic, TiedTableStaysWithTheHead) {
  const Names all = left_out("dp=2,zero=3,mb=1", true, 2);
  EXPECT_EQ(all, (Names{"release head", "release embedding", "gather head", "gather embedding",
                        "gather embedding", "release embedding"}));
}

TEST(IdleTraffic, NothingWhereParametersAreWhole) {
  EXPECT_TRUE(left_out("dp=2,zero=1,mb=1", false, 2).empty());
}

}  // namespace
}  // namespace tw::train
