// What the page draws is what the result says: values by hand, on a result small enough to read.
#include "reports/section.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "reports/vega.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

using testing::HasSubstr;

// Two stages of one chunk, 1f1b, four micro-batches: forward 1 s, backward 2 s, no sends. Stage 0 begins at
// 0 and ends at (4 + 1) * 3 = 15 s, of which it works 12 s. 16 GPUs in nodes of 8: stages 8 ranks apart.
constexpr std::string_view kPredicted = R"({
  "schema": "trainwright.predict/1", "model": "m<b>", "cluster": "c", "gpus": 16, "gpus_per_node": 8,
  "nics_per_node": 8, "answer": "fits", "layout": "dp=4,tp=2,pp=2,cp=1,ep=1,etp=1,vpp=1,sp=1,zero=0,hsdp=0,mb=1,recompute=none,schedule=1f1b",
  "step_time_s": 16.0, "step_time_low_s": 14.0, "step_time_high_s": 18.0,
  "memory_gib": {"peak": 30.0, "parameters": 30.0}, "memory_limit_gib": 79.0, "worst_stage": 0,
  "stages": [{"memory_gib": {"peak": 30.0, "parameters": 10.0, "activations": 20.0, "logits": 0.0}, "time_s": 12.0},
             {"memory_gib": {"peak": 25.0, "parameters": 25.0}, "time_s": 12.0}],
  "terms": [{"name": "gemm", "seconds": 12.0, "exposed_seconds": 12.0, "source": "measured", "extrapolated": false},
            {"name": "tp", "seconds": 3.0, "exposed_seconds": 1.0, "source": "derived", "extrapolated": true},
            {"name": "bubble", "seconds": 3.0, "exposed_seconds": 3.0, "source": "derived", "extrapolated": false}],
  "pipeline": {"microbatches": 4, "send_s": 0.0, "chunks": [{"forward_s": 1.0, "backward_s": 2.0},
                                                            {"forward_s": 1.0, "backward_s": 2.0}]},
  "band": [{"curve": "whole_step", "spread_s": 4.0}, {"curve": "gemm", "spread_s": 3.0}]})";

JsonView predicted() {
  return parse_json(kPredicted, "result.json");
}

std::vector<Piece> built(std::string_view section, const JsonView& result) {
  const Section* row = find_row(all_sections(), section);
  EXPECT_NE(row, nullptr) << section;
  return row->build(result);
}

template <class T>
std::vector<T> all_of(const std::vector<Piece>& pieces) {
  std::vector<T> out;
  for (const Piece& piece : pieces) {
    if (const auto* found = std::get_if<T>(&piece)) out.push_back(*found);
  }
  return out;
}

JsonView values_of(const Chart& chart) {
  return parse_json(chart.data.values().dump(), "values");
}

TEST(Sections, TheWaterfallEndsAtTheStep) {
  const auto charts = all_of<Chart>(built("time", predicted()));
  ASSERT_EQ(charts.size(), 2u);
  const JsonView rows = values_of(charts[0]);
  ASSERT_EQ(rows.size(), 4u);  // gemm, tp, bubble, the sum
  EXPECT_EQ(rows[1].at("from").number(), 12);
  EXPECT_EQ(rows[1].at("to").number(), 13);
  EXPECT_EQ(rows[3].at("term").string(), "step");
  EXPECT_EQ(rows[3].at("to").number(), 16);
  // Of the 3 s of tp, 2 are hidden.
  const JsonView parts = values_of(charts[1]);
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[2].at("part").string(), "hidden behind other work");
  EXPECT_EQ(parts[2].at("seconds").number(), 2);
}

TEST(Sections, ThePipelineIsPlayed) {
  const auto pieces = built("pipeline", predicted());
  const auto charts = all_of<Chart>(pieces);
  ASSERT_EQ(charts.size(), 1u);
  const JsonView slots = values_of(charts[0]);
  ASSERT_EQ(slots.size(), 16u);  // 2 stages, 4 micro-batches, 2 passes
  double end = 0;
  for (std::size_t i = 0; i < slots.size(); ++i) end = std::max(end, slots[i].at("to").number());
  EXPECT_EQ(end, 15);
  const auto tables = all_of<Listed>(pieces);
  ASSERT_EQ(tables.size(), 1u);
  const JsonView idle = parse_json(tables[0].data.values().dump(), "values");
  EXPECT_EQ(idle[0].at("works").number(), 12);
  EXPECT_DOUBLE_EQ(idle[0].at("share").number(), 0.2);  // (pp - 1) / (m + pp - 1)
}

// tp of two neighbours; dp of the four such pairs of a node; a stage is a node.
TEST(Sections, GroupsReachTheNodesTheyReach) {
  const auto tables = all_of<Listed>(built("placement", predicted()));
  ASSERT_EQ(tables.size(), 1u);
  const JsonView groups = parse_json(tables[0].data.values().dump(), "values");
  std::vector<std::string> said;
  for (std::size_t i = 0; i < groups.size(); ++i)
    said.push_back(groups[i].at("dim").string() + ": " + groups[i].at("links").string());
  EXPECT_THAT(said, testing::Contains("pp: network, each rank on its own rail"));
  EXPECT_THAT(said, testing::Contains("tp: inside the node"));
  EXPECT_THAT(said, testing::Contains("dp: inside the node"));
  const auto charts = all_of<Chart>(built("placement", predicted()));
  const JsonView cells = values_of(charts.at(0));
  ASSERT_EQ(cells.size(), 16u);
  EXPECT_EQ(cells[11].at("node").number(), 1);
  EXPECT_EQ(cells[11].at("gpu").number(), 3);
  EXPECT_EQ(cells[11].at("pp").number(), 1);
  EXPECT_EQ(cells[11].at("tp").number(), 1);
  EXPECT_EQ(cells[11].at("dp").number(), 1);
}

TEST(Sections, MemoryLeavesOutWhatIsEmpty) {
  const auto charts = all_of<Chart>(built("memory", predicted()));
  ASSERT_EQ(charts.size(), 1u);
  EXPECT_EQ(charts[0].data.size(), 3u);  // parameters and activations of stage 0, parameters of stage 1
  EXPECT_THAT(all_of<std::string>(built("memory", predicted())).at(0), HasSubstr("49.0 GiB free"));
}

// Shares of the band by squares: 16 / 25 and 9 / 25; without the whole step 12.5% becomes 7.5%.
TEST(Sections, TheBandSaysWhatToMeasureNext) {
  const auto pieces = built("provenance", predicted());
  const JsonView parts = values_of(all_of<Chart>(pieces).at(0));
  EXPECT_DOUBLE_EQ(parts[0].at("share").number(), 0.64);
  EXPECT_DOUBLE_EQ(parts[0].at("without").number(), 0.125 * 0.6);
  const auto texts = all_of<std::string>(pieces);
  EXPECT_THAT(texts.at(0), HasSubstr("75% measured"));
  EXPECT_THAT(texts.at(0), HasSubstr("6% derived, extrapolated in part"));
  EXPECT_THAT(texts.at(1), HasSubstr("trainwright confirm"));
}

TEST(Sections, ARunIsInsideItsBandOrNot) {
  const JsonView confirmed = parse_json(R"({"schema": "trainwright.confirm/1", "layouts": [
    {"layout": "a", "predicted": {"step_time_s": 2.0, "step_time_low_s": 1.8, "step_time_high_s": 2.2},
     "measured": {"step_time_s": 2.1, "loss": [5.0, 4.0]}, "terms": [{"name": "gemm", "predicted_s": 1.0, "measured_s": 1.5}]},
    {"layout": "b", "predicted": {"step_time_s": 2.0, "step_time_low_s": 1.8, "step_time_high_s": 2.2},
     "measured": {"step_time_s": 4.0, "loss": [5.0]}},
    {"layout": "c", "predicted": {"step_time_s": 2.0, "step_time_low_s": 1.8, "step_time_high_s": 2.2},
     "failed": "exit 9"}]})",
                                        "confirmed.json");
  const auto pieces = built("measured", confirmed);
  const auto texts = all_of<std::string>(pieces);
  EXPECT_THAT(texts.at(0), HasSubstr("1 of 2 measured steps"));
  EXPECT_THAT(texts.at(1), HasSubstr("Run 3 failed: exit 9"));
  const auto charts = all_of<Chart>(pieces);
  ASSERT_EQ(charts.size(), 3u);  // the scatter, terms, losses
  EXPECT_DOUBLE_EQ(values_of(charts[0])[1].at("error").number(), -0.5);
  EXPECT_EQ(charts[1].data.size(), 2u);
  EXPECT_EQ(charts[2].data.size(), 3u);
}

TEST(Sections, AChartDrawsTheRowsOfItsTable) {
  for (const Section* section : all_sections()) {
    for (const Chart& chart : all_of<Chart>(section->build(predicted()))) {
      const JsonView spec = parse_json(spec_of(chart).dump(), "spec");
      EXPECT_EQ(spec.at("data").at("values").size(), chart.data.size()) << chart.caption;
      EXPECT_GT(spec.at("height").integer(), 0) << chart.caption;
      EXPECT_FALSE(chart.says.empty());
    }
  }
}

TEST(Sections, AResultThatContradictsItselfIsRefused) {
  const auto refused = [](std::string_view from, std::string_view to, std::string_view section) {
    std::string text(kPredicted);
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    try {
      built(section, parse_json(text, "result.json"));
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(refused(R"({"forward_s": 1.0, "backward_s": 2.0},)", "", "pipeline"), HasSubstr("2 entries"));
  EXPECT_THAT(refused(R"("microbatches": 4)", R"("microbatches": 0)", "pipeline"), HasSubstr("from 1"));
  EXPECT_THAT(refused("dp=4", "dp=5", "placement"), HasSubstr("layout"));
  EXPECT_THAT(refused(R"("gpus_per_node": 8)", R"("gpus_per_node": 0)", "placement"), HasSubstr("from 1"));
  EXPECT_THAT(refused("trainwright.predict/1", "other", "time"), HasSubstr("schema"));
  EXPECT_THAT(refused(R"("exposed_seconds": 12.0)", R"("exposed_seconds": "12")", "time"),
              HasSubstr("number"));
}

TEST(DataTable, WritesNumbersForPeopleAndForCharts) {
  DataTable table({{"a", "a<b"}, {"t", "time", Show::seconds}, {"p", "part", Show::percent}});
  table.row({std::string("x\"&"), 0.0125, 0.25});
  table.row({Cell(), 2.0, Cell()});
  EXPECT_EQ(table.html(),
            "<table><thead><tr><th scope=col>a&lt;b</th><th scope=col class=n>time</th>"
            "<th scope=col class=n>part</th></tr></thead><tbody>\n"
            "<tr><td>x&quot;&amp;</td><td class=n>12 ms</td><td class=n>25.0%</td></tr>\n"
            "<tr><td></td><td class=n>2.00 s</td><td></td></tr></tbody></table>");
  EXPECT_EQ(table.values().dump(-1), R"([{"a":"x\"&","t":0.0125,"p":0.25},{"t":2.0}])");
  EXPECT_EQ(table.distinct("a"), 2u);
  EXPECT_TRUE(table.has("a", "x\"&"));
}

}  // namespace
}  // namespace tw
