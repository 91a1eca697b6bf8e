// A real trace of the PyTorch profiler (two H200s, ZeRO-3; see its "about") by our terms, and small ones by
// hand.
#include "planner/preflight/profile_trace.hpp"

#include <gtest/gtest.h>

#include "topology/check.hpp"
#include "topology/json.hpp"

namespace tw::preflight {
namespace {

Layout zero3_of_two() {
  Layout layout;
  layout.dp = 2, layout.zero = 3, layout.mb = 2;
  return layout;
}

TEST(ProfileTrace, ARealOneIsNineTenthsAssigned) {
  const std::string path = std::string(TW_SOURCE_DIR) + "/tests/launch/traces/llama-1b-zero3-h200.json";
  const TraceTimes trace = read_trace(path, zero3_of_two(), 128256);
  EXPECT_EQ(trace.steps, 2);
  EXPECT_GE(trace.assigned / trace.busy, 0.9);
  // By hand, of the same file: sums of durations over two steps by a part of the kernels' names.
  EXPECT_NEAR(trace.seconds.at(Term::attention), 0.0225, 0.001);  // *_sdpa_*
  EXPECT_NEAR(trace.seconds.at(Term::reduce), 0.0171, 0.001);     // ncclDevKernel_ReduceScatter_*, AllReduce
  EXPECT_NEAR(trace.seconds.at(Term::gather), 0.0120, 0.001);     // ncclDevKernel_AllGather_*
  EXPECT_GT(trace.seconds.at(Term::head), 0.01);
  EXPECT_GT(trace.idle, 0);
}

TraceTimes traced(const std::string& events, const Layout& layout = {}) {
  const std::string path = std::string(TW_BINARY_DIR) + "/planted-trace.json";
  write_file(path, "{\"traceEvents\": [" + events + "]}");
  return read_trace(path, layout, 1000);
}

TEST(ProfileTrace, StepsIdleTimeAndTheHeadByItsSizes) {
  // Two steps of 100 us; kernels of 40 + 20 (overlapping by 10) and 30 us: idle (200 - 80) / 2.
  const TraceTimes trace = traced(
      R"({"ph":"X","cat":"user_annotation","name":"ProfilerStep#1","ts":0,"dur":100},
         {"ph":"X","cat":"user_annotation","name":"ProfilerStep#2","ts":100,"dur":100},
         {"ph":"X","cat":"cpu_op","name":"aten::mm","ts":1,"dur":1,"args":{"External id":7,"Input Dims":[[8,16],[16,1000]]}},
         {"ph":"X","cat":"kernel","name":"nvjet_x","ts":10,"dur":40,"args":{"External id":7}},
         {"ph":"X","cat":"kernel","name":"nvjet_x","ts":40,"dur":20,"args":{"External id":8}},
         {"ph":"X","cat":"kernel","name":"my_own_kernel","ts":150,"dur":30})");
  EXPECT_EQ(trace.steps, 2);
  EXPECT_NEAR(trace.idle, 60e-6, 1e-12);
  EXPECT_NEAR(trace.seconds.at(Term::head), 20e-6, 1e-12);
  EXPECT_NEAR(trace.seconds.at(Term::gemm), 10e-6, 1e-12);
  ASSERT_EQ(trace.rest.size(), 1u);
  EXPECT_EQ(trace.rest[0].first, "my_own_kernel");
}

TEST(ProfileTrace, ExchangesByTheirGroup) {
  Layout layout;
  layout.dp = 2, layout.tp = 2, layout.ep = 2, layout.zero = 1;
  const TraceTimes trace = traced(
      R"({"ph":"X","cat":"kernel","name":"ncclDevKernel_AllGather","ts":0,"dur":1,"args":{"Process Group Description":"mesh_tp"}},
         {"ph":"X","cat":"kernel","name":"ncclDevKernel_AllGather","ts":1,"dur":2,"args":{"Process Group Description":"mesh_dp_shard"}},
         {"ph":"X","cat":"kernel","name":"ncclDevKernel_SendRecv","ts":3,"dur":4,"args":{}})",
      layout);
  EXPECT_NEAR(trace.seconds.at(Term::tp), 1e-6, 1e-12);
  EXPECT_NEAR(trace.seconds.at(Term::gather), 2e-6, 1e-12);
  EXPECT_NEAR(trace.seconds.at(Term::ep), 4e-6, 1e-12);
}

TEST(ProfileTrace, WhatIsNoTraceIsOneLine) {
  for (const char* events : {"", R"({"ph":"X","cat":"cpu_op","name":"x","ts":0,"dur":1})", "5, [], null"})
    EXPECT_THROW(traced(events), InputError) << events;
}

}  // namespace
}  // namespace tw::preflight
