// Profiles that name a base, and the permutation of experts padded to a capacity, by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/costmodel/oracle_fixture.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

using test::megatron, test::small_model;

constexpr std::int64_t kS = 1024, kUnit = kS * 512 * 2;  // bytes of a bf16 residual

std::int64_t bytes_of(const OpList& ops, std::string_view name) {
  std::int64_t bytes = 0;
  for (const Op& op : ops) {
    const auto* e = std::get_if<Elementwise>(&op.work);
    if (e && op.name == name) bytes += e->bytes.count;
  }
  return bytes;
}

TEST(Profiles, SayOnlyWhatDiffersFromTheirBase) {
  const Profile base = load_profile("megatron"), graphs = load_profile("megatron-graphs");
  EXPECT_LT(graphs.host.per_routing->value, base.host.per_routing->value);
  EXPECT_EQ(graphs.host.per_linear.value, base.host.per_linear.value);
  EXPECT_EQ(graphs.can.schedules, base.can.schedules);
  EXPECT_EQ(graphs.source.back(), base.source.back());
  EXPECT_EQ(graphs.source.size(), base.source.size() + 1);
  const JsonView nested = parse_json(R"({"base": "megatron-graphs"})", "nested.json");
  EXPECT_THROW(profile_of(nested), InputError);
}

// 1024 tokens to 2 experts each are 2 units of rows. Fused, the tokens are read and the rows written: 3
// units, both ways; padded by plain operators, the profile's passes over the 2 units.
TEST(Mechanisms, PaddedPermutation) {
  const Model model = small_model({.experts = 8, .top_k = 2});
  const Profile profile = megatron();
  const auto emitted = [&](double capacity) {
    return emit_layer({&model, &profile, {}, kS, {1, capacity}}, model.kinds[0]);
  };
  const LayerWork fused = emitted(0), padded = emitted(1);
  EXPECT_EQ(bytes_of(fused.forward, "permute"), 3 * kUnit);
  EXPECT_EQ(bytes_of(fused.backward, "unpermute"), 3 * kUnit);
  EXPECT_EQ(bytes_of(padded.forward, "permute"), std::llround(2 * 2.0 * kUnit));
  EXPECT_EQ(bytes_of(padded.backward, "permute"), std::llround(2 * 18.8 * kUnit));
  EXPECT_EQ(bytes_of(padded.forward, "unpermute"), std::llround(2 * 8.5 * kUnit));
  EXPECT_EQ(bytes_of(padded.backward, "unpermute"), std::llround(2 * 2.6 * kUnit));
}

}  // namespace
}  // namespace tw
