// Every legal layout of small jobs gives a Program that verifies.
#include <gtest/gtest.h>

#include "costmodel/program/verify.hpp"
#include "planner/enumerate.hpp"
#include "tests/support/small_models.hpp"

namespace tw {
namespace {

SearchSpace everything(bool experts) {
  SearchSpace space;
  space.schedules = (1u << kSchedules) - 1;
  space.cp_kinds = mask_of(CpKind::ring) | mask_of(CpKind::zigzag) | mask_of(CpKind::a2a);
  space.orders = mask_of(AxisOrder::tp_cp_ep_dp_pp) | mask_of(AxisOrder::tp_cp_ep_pp_dp);
  space.recomputes = {parse_recompute("none"),          parse_recompute("full"),
                      parse_recompute("full:1"),        parse_recompute("selective"),
                      parse_recompute("attention+mlp"), parse_recompute("norm")};
  if (experts) space.recomputes.push_back(parse_recompute("moe_act"));
  space.max_mb = 2;
  return space;
}

#ifdef __SANITIZE_ADDRESS__
constexpr std::int64_t kSlower = 40;  // fewer layouts in a tree where each costs so much more
#else
constexpr std::int64_t kSlower = 1;
#endif

struct Seen {
  std::int64_t layouts = 0, programs = 0;
  std::string broken;
};

// Of each `stride` layouts one is built: the enumeration nests, so all values of every option are met.
Seen verify_all(const Model& model, std::int32_t gpus, std::int64_t batch, std::int64_t stride) {
  Seen seen;
  Job job{&model, batch, 64, gpus};
  for_each_layout(everything(model.has_moe()), job, [&](const Layout& layout, Link) {
    if (seen.layouts++ % (kSlower * stride) != 0 || seen.broken.size() > 3000) return;
    ++seen.programs;
    const Program program(small_input(model, layout, batch));
    const std::vector<Finding> found = verify(program);
    if (!found.empty()) seen.broken += "\n" + to_string(layout) + "\n" + to_string(found.front());
  });
  return seen;
}

void expect_sound(const Model& model, std::int32_t gpus, std::int64_t batch, std::int64_t stride) {
  const Seen seen = verify_all(model, gpus, batch, stride);
  EXPECT_EQ(seen.broken, "") << model.name << " on " << gpus;
  EXPECT_GT(seen.programs, 0) << model.name << " on " << gpus;
}

TEST(ProgramVerifies, Dense) {
  for (const std::int32_t gpus : {1, 2, 4, 8, 16})
    expect_sound(small_model(false, 8), gpus, 16, gpus > 4 ? 50 : 1);
}
TEST(ProgramVerifies, Tied) {
  for (const std::int32_t gpus : {1, 2, 4, 8})
    expect_sound(small_model(false, 8, true), gpus, 16, gpus > 4 ? 50 : 5);
}
TEST(ProgramVerifies, Experts) {
  for (const std::int32_t gpus : {1, 2, 4, 8, 16})
    expect_sound(small_model(true, 8), gpus, 16, gpus > 2 ? 100 : 1);
}

}  // namespace
}  // namespace tw
