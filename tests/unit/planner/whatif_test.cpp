// What varies, what follows from it, and why the winner changes.
#include "planner/whatif/whatif.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "planner/plan.hpp"
#include "tests/support/problems.hpp"
#include "tests/support/program.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Varied vary(const Inputs& inputs, const std::string& text) {
  return varied(inputs, inputs.cluster.gpus, "", {parse_vary(text)}, {0});
}

TEST(Vary, EachNameChangesWhatItSays) {
  const Inputs in = inputs_of("olmoe-1b-7b", "h100-sxm:64", 64, 4096);
  EXPECT_EQ(vary(in, "inter_bandwidth=25 GB/s").inputs.cluster.node.nic_rate.value, 25e9);
  EXPECT_EQ(vary(in, "intra_bandwidth=900 GB/s").inputs.cluster.device.nvlink_one_way.value, 900e9);
  EXPECT_EQ(vary(in, "nics=4").inputs.cluster.node.nics, 4);
  EXPECT_EQ(vary(in, "nic_rate=800 Gb/s").inputs.cluster.node.nic_rate.value, 100e9);
  EXPECT_DOUBLE_EQ(vary(in, "latency=5 us").inputs.cluster.node.nic_latency.value, 5e-6);
  EXPECT_FALSE(vary(in, "rails=no").inputs.cluster.network.rails);
  EXPECT_EQ(vary(in, "oversubscription=2").inputs.cluster.network.oversubscription, 2);
  EXPECT_EQ(vary(in, "hbm=141 GB").inputs.cluster.device.memory.count, 141'000'000'000);
  EXPECT_EQ(vary(in, "hbm_rate=4.8 TB/s").inputs.cluster.device.memory_rate.value, 4.8e12);
  EXPECT_EQ(vary(in, "gpu=h200-sxm").inputs.calibration.name(), "h200-sxm");
  EXPECT_EQ(vary(in, "gpus=32").gpus, 32);
  EXPECT_EQ(vary(in, "seq=8192").inputs.seq, 8192);
  EXPECT_EQ(vary(in, "global_batch=128").inputs.global_batch, 128);
  EXPECT_EQ(vary(in, "model=llama-3.1-8b").inputs.model.name, "llama-3.1-8b");
  EXPECT_EQ(vary(in, "framework=nemo").inputs.profile.name, "nemo");
}

// 64 GPUs in domains of 36, of which jobs take 32: 2 nodes, a NIC for each GPU, 256 GPUs under one leaf.
TEST(Vary, ADomainKeepsTheNicsOfAGpuAndIsUsedInPowersOfTwo) {
  const Cluster c =
      vary(inputs_of("olmoe-1b-7b", "h100-sxm:64", 64, 4096), "nvlink_domain=36").inputs.cluster;
  EXPECT_EQ(c.gpus_per_node(), 32);
  EXPECT_EQ(c.node.nics, 32);
  EXPECT_EQ(c.nodes(), 2);
  EXPECT_EQ(c.network.nodes_per_pod, 7);
}

TEST(Vary, ALostRailIsANicOfEveryNode) {
  const Inputs in = inputs_of("olmoe-1b-7b", "h100-sxm:16", 64, 4096);
  const Cluster c = vary(in, "lost_rails=2").inputs.cluster;
  ASSERT_EQ(c.faults->size(), 4u);  // two nodes
  EXPECT_EQ((*c.faults)[3], (Fault{FaultKind::nic, 1, 1, 1.0}));
  const Varied four = vary(in, "lost_rails=4");
  const Problem whole(in, 16), lossy(four.inputs, 16);
  const std::array<GroupAxis, 1> all = {GroupAxis{16, 1}};
  // Half of the NICs are gone: each rank has half the rate.
  EXPECT_DOUBLE_EQ(2 * lossy.fabric.links(all).inter.value, whole.fabric.links(all).inter.value);
  EXPECT_THROW(vary(in, "lost_rails=8"), InputError);
}

TEST(Vary, ASlowNodeSlowsEveryStepByAsMuch) {
  const Inputs in = inputs_of("llama-3.1-8b", "h100-sxm:16", 64, 4096);
  const auto straggler = [](const Inputs& inputs) {
    const Problem problem(inputs, 16);
    return step_context(problem.job, problem.machine, Bytes(0)).straggler;
  };
  EXPECT_NEAR(straggler(vary(in, "slow_node=0.1").inputs) - straggler(in), 0.1, 1e-9);
}

TEST(Vary, AFragmentedAllocationHasPodsOfItsSmallestFragment) {
  const Workspace workspace;
  const std::string path = workspace.path("nodes.json");
  write_file(path, R"({"source": "planted", "nodes": [{"node": "a", "leaf": "x"}, {"node": "b", "leaf": "x"},
    {"node": "c", "leaf": "x"}, {"node": "d", "leaf": "y"}]})");
  const Varied v = vary(inputs_of("olmoe-1b-7b", "h100-sxm:64", 64, 4096), "allocation=" + path);
  EXPECT_EQ(v.gpus, 32);
  EXPECT_EQ(v.inputs.cluster.network.nodes_per_pod, 1);
}

TEST(Vary, RefusesInOurWords) {
  const Inputs in = inputs_of("olmoe-1b-7b", "h100-sxm:64", 64, 4096);
  for (const char* text : {"nonsense=1", "nvlink_domain", "nvlink_domain=", "nvlink_domain=8,,16"})
    EXPECT_THROW(parse_vary(text), InputError) << text;
  for (const char* text :
       {"nvlink_domain=0", "inter_bandwidth=0 GB/s", "inter_bandwidth=5", "rails=maybe",
        "oversubscription=0.5", "gpu=none", "nics=9", "seq=-1", "hbm=1 MB", "allocation=none"})
    EXPECT_THROW(vary(in, text), InputError) << text;
}

// Each point is what plan answers there; a faster network never makes the best step longer.
TEST(Whatif, PointsAreFullPlans) {
  const Inputs in = inputs_of("olmoe-1b-7b", "h100-sxm:32", 64, 4096);
  WhatifSettings settings;
  settings.axes = {parse_vary("nvlink_domain=8,16"), parse_vary("inter_bandwidth=5 GB/s,50 GB/s,100 GB/s")};
  const WhatifResult r = make_whatif(in, settings);
  ASSERT_EQ(r.points.size(), 6u);
  EXPECT_THAT(r.points[4].values, ElementsAre("16", "50 GB/s"));
  const PlanResult plan = make_plan(in, {.gpus = {32}, .fixed = "", .top = 1});
  EXPECT_EQ(r.points[1].best->layout, plan.counts[0].best[0].layout);
  EXPECT_DOUBLE_EQ(r.points[1].best->cost.step_seconds, plan.counts[0].best[0].cost.step_seconds);
  for (const WhatifPoint& point : r.points) {
    double sum = 0;
    for (const double seconds : point.resources) sum += seconds;
    EXPECT_NEAR(sum, point.best->cost.step_seconds, 1e-5 * sum);
  }
  for (const std::size_t i : {0u, 1u, 3u, 4u})
    EXPECT_GE(r.points[i].best->cost.step_seconds, r.points[i + 1].best->cost.step_seconds) << i;
  for (const WinnerChange& change : r.changes) {
    EXPECT_FALSE(change.keys.empty());
    if (!change.old_fits) continue;
    EXPECT_GE(change.behind.seconds, 0) << change.keys;
  }
  EXPECT_FALSE(r.changes.empty()) << "a tenfold network changes nothing: the case does not test changes";
}

TEST(WhatifCommand, TableJsonAndErrors) {
  const Workspace workspace;
  const std::vector<std::string> base = {"whatif",    "--model",     "olmoe-1b-7b",
                                         "--cluster", "h100-sxm:16", "--global-batch",
                                         "32",        "--seq",       "4096"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), base.begin(), base.end());
    return workspace.run(more);
  };
  const Ran ran =
      with({"--vary", "inter_bandwidth=10 GB/s,50 GB/s", "--vary", "seq=2048,4096", "--json", "-"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const JsonView json = parse_json(ran.out, "whatif");
  EXPECT_EQ(json.at("points").size(), 4u);
  EXPECT_THAT(json.at("points")[0].keys(),
              testing::IsSupersetOf({"values", "best", "exposed_seconds", "searched"}));
  EXPECT_THAT(with({}).err, HasSubstr("--vary: is missing"));
  EXPECT_THAT(with({"--vary", "seq=1,2", "--vary", "seq=3"}).err, HasSubstr("varied twice"));
  EXPECT_THAT(with({"--vary", "sequence=1"}).err, HasSubstr("nvlink_domain"));
  EXPECT_EQ(with({"--vary", "hbm=2 GiB"}).code, 3);
}

}  // namespace
}  // namespace tw
