// What confirm says of the order of its layouts: of those alone that their runs tell apart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "planner/confirm/confirm.hpp"

namespace tw {
namespace {

ConfirmedLayout ran(double predicted, double p10, double median, double p90) {
  ConfirmedLayout out;
  out.predicted.cost.step_seconds = predicted;
  Measured& m = out.measured.emplace();
  m.median_s = median, m.p10_s = p10, m.p90_s = p90, m.losses = {2, 1};
  return out;
}

// Three layouts, pairs (1,2) 0.9-1.1 against 1.0-1.2: overlap; (1,3), (2,3) against 2.0-2.2: apart. The
// prediction has 3 before 2 and after 1: one of the two pairs is right.
TEST(Confirm, OrderCountsPairsThatRunsTellApart) {
  Confirmed result;
  result.layouts = {ran(1, 0.9, 1, 1.1), ran(3, 1.0, 1.1, 1.2), ran(2, 2.0, 2.1, 2.2)};
  const Confirmed::Order order = result.order();
  EXPECT_EQ(order.pairs, 3);
  EXPECT_EQ(order.told_apart, 2);
  EXPECT_DOUBLE_EQ(*order.kendall_tau, 0);
  EXPECT_THAT(to_text(result, 100), testing::HasSubstr("tau 0.00 over the 2 of 3 pairs"));
}

TEST(Confirm, OrderOfRunsThatOverlapIsNotTold) {
  Confirmed result;
  result.layouts = {ran(1, 0.9, 1, 1.1), ran(2, 0.95, 1.05, 1.2)};
  EXPECT_FALSE(result.order().kendall_tau);
  EXPECT_THAT(to_text(result, 100), testing::HasSubstr("the runs overlap"));
}

TEST(Confirm, OrderOfOneLayoutIsNoQuestion) {
  Confirmed result;
  result.layouts = {ran(1, 0.9, 1, 1.1)};
  EXPECT_EQ(result.order().pairs, 0);
  EXPECT_THAT(to_text(result, 100), testing::Not(testing::HasSubstr("order:")));
}

}  // namespace
}  // namespace tw
