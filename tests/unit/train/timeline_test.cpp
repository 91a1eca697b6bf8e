// Timelines: the trace-event text, and one of a real step, in which streams must really run side by side.
#include "train/timeline.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "topology/trace_events.hpp"

namespace tw::train {
namespace {

TEST(TraceEvents, SlicesInMicrosecondsOnNamedTracks) {
  TraceEvents trace;
  trace.name_process(3, "rank 3");
  trace.name({3, 1}, "compute");
  trace.slice({3, 1}, "qkv", "gemm", 0.5e-3, 2e-3);
  const JsonView file = parse_json(trace.text(Json::object().set("model", "m")), "trace");
  EXPECT_EQ(file.at("otherData").at("model").string(), "m");
  const JsonView events = file.at("traceEvents");
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].at("ph").string(), "M");
  EXPECT_EQ(events[1].at("args").at("name").string(), "compute");
  EXPECT_EQ(events[2].at("ts").number(), 500);
  EXPECT_EQ(events[2].at("dur").number(), 1500);
  EXPECT_EQ(events[2].at("tid").integer(), 1);
  EXPECT_EQ(parse_json(TraceEvents().text(Json::object()), "empty").at("traceEvents").size(), 0u);
}

struct Span {
  double begin, end;
};

// Of a rank's slices on side streams, the seconds that lie under work of compute; and all.
std::pair<double, double> under_compute(const JsonView& events, std::int64_t rank) {
  std::vector<Span> compute, side;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const JsonView each = events[i];
    if (each.at("ph").string() != "X" || each.at("pid").integer() != rank) continue;
    const Span span{each.at("ts").number(), each.at("ts").number() + each.at("dur").number()};
    if (each.at("tid").integer() > 0)
      side.push_back(span);
    else if (each.at("cat").string() != "wait")
      compute.push_back(span);
  }
  double under = 0, all = 0;
  for (const Span& s : side) {
    all += s.end - s.begin;
    for (const Span& c : compute) under += std::max(0.0, std::min(s.end, c.end) - std::max(s.begin, c.begin));
  }
  return {under, all};
}

// A step of Llama-3.2-1B with ZeRO-3 on two H200s (trainwright-train-gpu --trace, 2026-11-22): gathers ahead
// and reductions behind lie under the products of other layers.
TEST(Timeline, StreamsOfARealStepOverlap) {
  const JsonView file = load_json(TW_SOURCE_DIR "/tests/gpu/data/trace-1b-zero3.json");
  for (const std::int64_t rank : {0, 1}) {
    const auto [under, all] = under_compute(file.at("traceEvents"), rank);
    EXPECT_GT(all, 30e3);  // us, of a step of 145 ms
    EXPECT_GT(under, 0.8 * all);
  }
}

}  // namespace
}  // namespace tw::train
