// What the host takes to issue operations, mechanism by mechanism, by hand.
#include <gtest/gtest.h>

#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

using test::h100, test::megatron, test::small_model;
using Machinery = test::Setup;  // gtest has a Setup of its own

constexpr std::int64_t kS = 1024;

// A linear module's own host time: once forward, once backward for its two GEMMs.
TEST(Mechanisms, HostTimeOfLinears) {
  const auto host = [](Seconds per_linear, GemmPass pass) {
    Profile profile = megatron();
    profile.host.per_kernel = Seconds(0), profile.host.per_linear = per_linear;
    Machinery setup(small_model({}), h100(8), profile, 8, kS);
    Op op;
    op.work = GemmShape{1024, 1024, 1024, pass, false};
    return Pricer(setup.machine, Precision::bf16).price(op, {}).host;
  };
  EXPECT_EQ(host(Seconds(1), GemmPass::forward), 1);
  EXPECT_EQ(host(Seconds(1), GemmPass::dgrad), 1);
  EXPECT_EQ(host(Seconds(1), GemmPass::wgrad), 0);
}

// What an operation takes beside its launches.
TEST(Mechanisms, HostTimeOfOperations) {
  Profile profile = megatron();
  profile.host.per_kernel = Seconds(1), profile.host.per_linear = Seconds(0);
  profile.host.per_operation = Seconds(10);
  Machinery setup(small_model({}), h100(8), profile, 8, kS);
  Op op;
  op.work = Elementwise{Bytes(1 << 20)}, op.launches = 3;
  EXPECT_EQ(Pricer(setup.machine, Precision::bf16).price(op, {}).host, 13);
}

// A grouped product of eight experts is eight launches where each is started by itself, else one.
TEST(Mechanisms, LaunchesOfExperts) {
  const auto host = [](bool each) {
    Profile profile = megatron();
    profile.kernels.expert_launches = each;
    profile.host.per_kernel = Seconds(1), profile.host.per_linear = Seconds(0);
    Model model = small_model({});
    model.kinds[0].mlp.reset();
    model.kinds[0].moe = Moe{.experts = 8, .top_k = 2, .ffn = 64};
    Machinery setup(model, h100(8), profile, 8, kS);
    const LayerWork work = emit_layer({&model, &profile, {}, kS, {}}, model.kinds[0]);
    double seconds = 0;
    for (const Op& op : work.forward) {
      if (op.term == Term::expert_gemm) seconds += Pricer(setup.machine, Precision::bf16).price(op, {}).host;
    }
    return seconds;
  };
  EXPECT_EQ(host(false), 2);
  EXPECT_EQ(host(true), 16);
}

}  // namespace
}  // namespace tw
