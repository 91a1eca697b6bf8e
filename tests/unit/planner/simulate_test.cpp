// trainwright simulate: a plan's layout, what its trace and memory say, refusals; and what links carry of a
// step with experts.
#include "costmodel/sim/simulate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "costmodel/program/view.hpp"
#include "costmodel/sim/memory.hpp"
#include "tests/support/problems.hpp"
#include "tests/support/program.hpp"

namespace tw {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Args = std::vector<std::string>;

Args simulate_args(const Args& more = {}) {
  Args out{"simulate",
           "--model",
           "olmoe-1b-7b",
           "--cluster",
           "h100-sxm:16",
           "--global-batch",
           "32",
           "--seq",
           "4096",
           "--layout",
           "dp=16,ep=8,zero=1,recompute=full"};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

TEST(SimulateCommand, PlaysALayoutOfAPlan) {
  const Workspace w;
  ASSERT_EQ(w.run({"plan", "--model", "olmoe-1b-7b", "--cluster", "h100-sxm:16", "--global-batch", "32",
                   "--seq", "4096", "--save", "p.json"})
                .code,
            0);
  const std::string layout = load_json(w.path("p.json")).at("layouts")[1].at("layout").string();
  const Ran of_plan = w.run({"simulate", "--plan", "p.json", "--place", "2", "--json", "-"});
  ASSERT_EQ(of_plan.code, 0) << of_plan.err;
  const Ran asked = w.run({"simulate", "--model", "olmoe-1b-7b", "--cluster", "h100-sxm:16", "--global-batch",
                           "32", "--seq", "4096", "--layout", layout, "--json", "-"});
  EXPECT_EQ(of_plan.out, asked.out);
  EXPECT_THAT(of_plan.out, HasSubstr(layout));
}

// A result says what it was asked beside the layout, and a trace is what its pattern is.
TEST(SimulateCommand, SaysItsConditions) {
  const Workspace w;
  std::string counts = "[1";
  for (int e = 1; e < 64; ++e) counts += ", 1";
  write_file(w.path("even.json"),
             "{\"schema\": \"trainwright.expert-load/1\", \"source\": \"made up\", "
             "\"experts\": 64, \"steps\": [{\"step\": 0, \"layers\": [" +
                 counts + "]]}]}");
  const Ran of_file =
                w.run(simulate_args({"--load", "even.json", "--placement", "round-robin", "--json", "-"})),
            named = w.run(simulate_args({"--placement", "round-robin", "--json", "-"}));
  ASSERT_EQ(of_file.code, 0) << of_file.err;
  const JsonView one = parse_json(of_file.out, "file"), other = parse_json(named.out, "named");
  EXPECT_EQ(one.at("conditions").at("load").string(), "even.json");
  EXPECT_EQ(one.at("conditions").at("placement").string(), "round-robin");
  EXPECT_EQ(other.at("conditions").keys(), Args{"placement"});
  EXPECT_EQ(one.at("step_time_s").number(), other.at("step_time_s").number());
}

TEST(SimulateCommand, RefusesInOneLine) {
  const Workspace w;
  write_file(w.path("broken.json"), "{\"schema\": \"trainwright.plan-file/1\", \"layouts\": [}");
  write_file(w.path("other.json"), "{\"schema\": \"trainwright.plan-file/9\"}");
  const std::string head = "{\"schema\": \"trainwright.expert-load/1\", \"source\": \"made up\", ";
  const auto loads = [&](const std::string& name, const std::string& counts, const char* experts = "64") {
    write_file(w.path(name + ".json"), head + "\"experts\": " + experts + ", \"steps\": [{\"step\": 10, " +
                                           "\"layers\": [" + counts + "]}]}");
    return name + ".json";
  };
  std::string even = "[1";
  for (int i = 1; i < 64; ++i) even += ", 1";
  even += "]";
  const std::string good = loads("good", even), few = loads("few", "[1, 2, 3]"),
                    word = loads("word", "[\"a\"]"), two = loads("two", even + ", " + even);
  std::string hot = even, negative = even, none = even;
  hot.replace(1, 1, "1000"), negative.replace(1, 1, "-1");
  std::replace(none.begin(), none.end(), '1', '0');
  struct Case {
    Args args;
    const char* says;
  };
  const Case cases[] = {
      {simulate_args({"--load", "none.json"}), "none.json"},
      {simulate_args({"--load", "broken.json"}), "broken.json"},
      {simulate_args({"--load", "other.json"}), "other.json"},
      {simulate_args({"--load", good}), "none holds for step 0"},
      {simulate_args({"--load", few, "--step", "10"}), "steps[0].layers[0]: 3 counts"},
      {simulate_args({"--load", word, "--step", "10"}), "layers[0][0]"},
      {simulate_args({"--load", two, "--step", "10"}), "2 layers"},
      {simulate_args({"--load", loads("hot", hot), "--step", "10"}), "takes it once"},
      {simulate_args({"--load", loads("negative", negative), "--step", "10"}), "negative"},
      {simulate_args({"--load", loads("zero", none), "--step", "10"}), "zero"},
      {simulate_args({"--load", "zip"}), "legal: balanced, zipf, spike, drift"},
      {simulate_args({"--load", "zipf:"}), "zipf:NUMBER"},
      {simulate_args({"--load", "zipf:1", "--expert-load", "2"}), "--expert-load"},
      {simulate_args({"--load", "zipf:1", "--capacity-factor", "1"}), "--capacity-factor"},
      {simulate_args({"--placement", "best"}), "legal: none, round-robin, balanced, topology"},
      {simulate_args({"--replicas", "1"}), "--replicas"},
      {simulate_args({"--a2a-chunks", "9"}), "1 to 8"},
      {simulate_args({"--lost-link", "nic:2:0"}), "0 to 1"},
      {simulate_args({"--lost-link", "cable:1:1"}), "nic:NODE:INDEX"},
      {simulate_args({"--slow-link", "nic:0:0"}), "FACTOR"},
      {simulate_args({"--slow-link", "rail:0:0.5"}), "--slow-link"},
      {simulate_args({"--lost-link", "rail:0,rail:1,rail:2,rail:3,rail:4,rail:5,rail:6,rail:7"}), "cut off"},
      {{"simulate"}, "--model"},
      {{"simulate", "--plan", "none.json"}, "none.json"},
      {{"simulate", "--plan", "broken.json"}, "broken.json"},
      {{"simulate", "--plan", "other.json"}, "other.json"},
      {simulate_args({"--plan", "p.json"}), "--model"},
      {simulate_args({"--slow", "3"}), "RANK:FACTOR"},
      {simulate_args({"--slow", "16:2"}), "0 to 15"},
      {simulate_args({"--slow", "1:0.5"}), "--slow"},
      {simulate_args({"--jitter", "2"}), "--jitter"},
      {simulate_args({"--trace", "nowhere/t.json"}), "--trace"},
  };
  for (const Case& c : cases) {
    const Ran ran = w.run(c.args);
    EXPECT_EQ(ran.code, 2) << c.says;
    EXPECT_THAT(ran.err, HasSubstr(c.says));
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
    EXPECT_EQ(ran.out, "");
  }
}

// Every slice lies in the step, slices of a track do not overlap, what a lane names it names once; links
// carry no more than they can.
TEST(SimulateCommand, IsTheSameUnderMpirun) {
  const Workspace workspace;
  const std::string question =
      " simulate --model llama-3.1-8b --cluster h100-sxm:16 --global-batch 32 --seq 4096 "
      "--layout tp=2,pp=2,zero=1 --unfold --json - ";
  const std::string alone = TW_BINARY_DIR "/bin/trainwright" + question;
  const std::string two =
      "env ASAN_OPTIONS=detect_leaks=0 mpirun --allow-run-as-root --oversubscribe -n 2 " + alone;
  const Ran one = workspace.run_line(alone + "--no-contention"),
            both = workspace.run_line(two + "--no-contention");
  EXPECT_EQ(both.code, 0) << both.err;
  EXPECT_EQ(one.out, both.out);
  const Ran shared = workspace.run_line(two);
  EXPECT_EQ(shared.code, 2);
  const std::size_t said = shared.err.find("mpirun: shared links join all ranks");
  EXPECT_NE(said, std::string::npos) << shared.err;
  EXPECT_EQ(shared.err.find("shared links", said + 30), std::string::npos) << "said twice";
}

TEST(SimulateCommand, ItsTraceIsATimeline) {
  const Workspace w;
  const Ran ran = w.run(simulate_args({"--trace", "t.json", "--json", "-"}));
  ASSERT_EQ(ran.code, 0) << ran.err;
  const double step = parse_json(ran.out, "result").at("played_s").number() * 1e6;
  const JsonView events = load_json(w.path("t.json")).at("traceEvents");
  std::map<std::pair<double, double>, double> ends;  // by process and thread
  int slices = 0, exchanges = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const JsonView e = events[i];
    if (e.at("ph").string() != "X") continue;
    ++slices;
    double& end = ends[{e.at("pid").number(), e.at("tid").number()}];
    const double begin = e.at("ts").number();
    EXPECT_GE(begin, end - 1e-3) << e.at("name").string();
    end = begin + e.at("dur").number();
    EXPECT_LE(end, step + 1e-3);
    if (const auto about = e.find("args"); about && about->find("group")) {
      ++exchanges;
      EXPECT_GT(about->at("bytes").number(), 0);
    }
  }
  EXPECT_GT(slices, 500);
  EXPECT_GT(exchanges, 100);
}

struct Played {
  Inputs inputs;
  Problem problem;
  Evaluator evaluator;
  Layout layout;
  SimulatedStep step;
  Played(const std::string& cluster, std::int64_t batch, const std::string& text, SimSettings settings)
      : inputs(inputs_of("olmoe-1b-7b", cluster, batch, 4096)),
        problem(inputs, inputs.cluster.gpus),
        evaluator(problem.job, problem.machine, inputs.settings),
        layout(parse_layout(text, problem.job.gpus)),
        step(simulate(evaluator, layout, {}, settings)) {}
};

// Two nodes of 8: experts over a node, their states over the two GPUs of one place, the others' over all 16.
// A NIC carries 15/16 of an eighth of the others' bytes and half of the experts': bf16 gathered, fp32
// reduced. With the next slot's messages, there are none.
TEST(SimulatedLinks, CarryEachGroupOfAnExchange) {
  SimSettings settings;
  settings.contention = true;
  const Played p("h100-sxm:16", 16, "dp=16,ep=8,zero=1,recompute=full", settings);
  double bytes = 0;
  for (const Unit& unit : p.step.program->units(0)) {
    const LocalElements local = local_elements(*unit.work);
    const auto attention = static_cast<double>(local.attention), expert = static_cast<double>(local.expert);
    bytes += (attention * 15 / 16 / 8 + expert / 2) * (2 + 4);
  }
  int nics = 0;
  for (std::size_t l = 0; l < p.step.links.size(); ++l) {
    if (p.step.links[l].tier != SimLink::Tier::nic) continue;
    ++nics;
    EXPECT_NEAR(p.step.run.links[l].busy * p.step.links[l].rate, bytes, 1e-4 * bytes) << p.step.links[l].name;
  }
  EXPECT_GT(nics, 0);
}

double played(const std::string& layout, const SimSettings& settings, const Routing& routing = {}) {
  Inputs inputs = inputs_of("olmoe-1b-7b", "h100-sxm:16", 32, 4096, "trainwright");
  inputs.settings.routing = routing;
  const Problem problem(inputs, 16);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  return simulate(evaluator, parse_layout(layout, 16), routing, settings).played;
}

// Equal experts dealt out otherwise are the same step, to the picosecond, whichever way they are played.
TEST(SimulatedSkew, EqualExpertsAreNoSkew) {
  for (const char* layout : {"dp=16,ep=8,zero=1", "dp=16,ep=16,zero=1", "dp=16,ep=16,zero=1,a2a=dedup",
                             "dp=16,ep=16,zero=1,a2a=two-level", "dp=8,tp=2,sp=1,ep=4,etp=2"}) {
    SimSettings even, dealt;
    dealt.skew.placement = "round-robin";
    EXPECT_DOUBLE_EQ(played(layout, dealt), played(layout, even)) << layout;
    even.pieces = dealt.pieces = 4;
    EXPECT_NEAR(played(layout, dealt), played(layout, even), 1e-6 * played(layout, even)) << layout;
  }
}

// One rank of each ep group has 1.5 times the mean in every layer: what the closed form's busiest rank has,
// by its own prices.
TEST(SimulatedSkew, TheBusiestRankSetsThePace) {
  const Workspace w;
  std::string counts = "[";
  for (int e = 0; e < 64; ++e) counts += e < 8 ? (e == 0 ? "3" : ", 3") : ", 1.857142857142857";
  write_file(w.path("l.json"), R"({"schema": "trainwright.expert-load/1", "source": "made up", "experts": 64,
 "steps": [{"step": 0, "layers": [)" +
                                   counts + "]]}]}");
  for (const char* layout : {"dp=16,ep=8,zero=1", "dp=16,ep=8,zero=1,recompute=full"}) {
    SimSettings skewed;
    skewed.skew.load = w.path("l.json");
    Routing busiest;
    busiest.max_over_mean = 1.5;
    const double expected = played(layout, {}, busiest), even = played(layout, {});
    EXPECT_NEAR(played(layout, skewed), expected, 0.005 * expected) << layout;
    EXPECT_GT(expected, 1.05 * even);
  }
}

// Replicas and placement take what skew costs back, or part of it; nothing is better than even.
TEST(SimulatedSkew, PlacementHelps) {
  const char* layout = "dp=16,ep=16,zero=1";
  const auto with = [&](const char* load, const char* placement, std::int32_t replicas) {
    SimSettings settings;
    settings.contention = true, settings.skew = {load, placement, replicas, 0, 1};
    return played(layout, settings);
  };
  SimSettings plain;
  plain.contention = true;
  const double even = played(layout, plain), none = with("zipf:0.8", "none", 0),
               balanced = with("zipf:0.8", "balanced", 0), copies = with("zipf:0.8", "balanced", 2);
  EXPECT_GT(none, 1.3 * even);
  EXPECT_LT(balanced, 0.9 * none);
  EXPECT_LT(copies, balanced);
  EXPECT_GT(copies, even);
}

std::map<std::string, double> bytes_by_nic(const std::vector<Fault>& faults) {
  SimSettings settings;
  settings.contention = settings.unfold = true, settings.faults = faults;
  const Played p("h100-sxm:16", 16, "dp=16,ep=8,zero=1,recompute=full", settings);
  std::map<std::string, double> out;
  for (std::size_t l = 0; l < p.step.links.size(); ++l) {
    if (p.step.links[l].tier == SimLink::Tier::nic)
      out[p.step.links[l].name] = p.step.run.links[l].busy * p.step.links[l].rate;
  }
  return out;
}

// A lost NIC's bytes go by the seven others of its node; a slow one carries what it did, for longer.
TEST(SimulatedLinks, LostOnesSendByTheOthers) {
  const auto healthy = bytes_by_nic({}), lost = bytes_by_nic({{FaultKind::nic, 1, 2, 1.0}}),
             slow = bytes_by_nic({{FaultKind::nic, 1, 2, 0.5}});
  EXPECT_EQ(healthy.size(), 16u);
  EXPECT_EQ(lost.size(), 15u);
  for (const auto& [name, bytes] : lost) {
    const bool other = name.ends_with("node 1");
    EXPECT_NEAR(bytes, healthy.at(name) * (other ? 8.0 / 7 : 1), 1e-4 * bytes) << name;
  }
  for (const auto& [name, bytes] : slow) EXPECT_NEAR(bytes, healthy.at(name), 1e-4 * bytes) << name;
}

double played_with(const char* layout, const std::function<void(Cluster&)>& change,
                   const SimSettings& settings) {
  Inputs inputs = inputs_of("olmoe-1b-7b", "h100-sxm:16", 32, 4096, "trainwright");
  change(inputs.cluster);
  const Problem problem(inputs, 16);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  return simulate(evaluator, parse_layout(layout, 16), {}, settings).played;
}

// All NICs at half their rate are a cluster with NICs of half the rate; a rail that is lost is lost wherever
// it is said: with links shared or not, whole or in pieces, whatever the experts.
TEST(SimulatedLinks, FaultsAreThoseOfTheCluster) {
  for (const char* layout : {"dp=16,ep=16,zero=1", "dp=16,ep=8,zero=3", "dp=8,pp=2,ep=8,zero=1"}) {
    for (const int round : {0, 1, 2}) {
      SimSettings plain, slow, lost;
      plain.contention = round > 0, plain.pieces = round > 1 ? 2 : 1;
      if (round > 1) plain.skew.load = "zipf:0.5";
      slow = lost = plain;
      std::vector<Fault> rail;
      for (const std::int32_t node : {0, 1}) {
        for (std::int32_t nic = 0; nic < 8; ++nic) slow.faults.push_back({FaultKind::nic, node, nic, 0.5});
        rail.push_back({FaultKind::nic, node, 2, 1.0});
      }
      lost.faults = rail;
      const auto same = [](Cluster&) {};
      constexpr double kRounding = 1e-9;
      EXPECT_NEAR(played_with(layout, same, slow),
                  played_with(
                      layout, [](Cluster& c) { c.node.nic_rate = c.node.nic_rate / 2; }, plain),
                  kRounding)
          << layout << round;
      EXPECT_NEAR(played_with(layout, same, lost),
                  played_with(
                      layout, [&](Cluster& c) { c.faults = rail; }, plain),
                  kRounding)
          << layout << round;
      EXPECT_GT(played_with(layout, same, slow), played_with(layout, same, plain)) << layout << round;
    }
  }
}

// States of each place go by a rail of their own: what waits for the slow one is the step's end alone.
TEST(SimulatedLinks, OneSlowRailAmongRings) {
  const char* layout = "dp=16,ep=8,zero=1";
  const auto with = [&](double share) {
    SimSettings settings;
    settings.contention = true;
    if (share > 0) settings.faults = {{FaultKind::nic, 1, 3, share}};
    return played(layout, settings);
  };
  const double even = with(0), slow = with(0.5), slower = with(0.875);
  EXPECT_GT(slow, even);
  EXPECT_GT(slower, slow);
}

// GPipe keeps all micro-batches to the end of the forwards, 1F1B of the first stage as many as stages: by
// hand over the kept bytes of a micro-batch.
TEST(SimulatedMemory, HoldsWhatTheScheduleKeeps) {
  SimSettings settings;
  settings.timeline = true;
  const auto peak = [&](const std::string& schedule, std::int64_t batch) {
    Played p("h100-sxm:4", batch, "pp=4,zero=0,schedule=" + schedule, settings);
    return memory_over_time(p.step, p.evaluator.context(), p.evaluator.chain(p.layout), 0);
  };
  const MemoryOverTime eight = peak("gpipe", 8), four = peak("gpipe", 4), steady = peak("1f1b", 8);
  EXPECT_EQ(steady.peak.bytes, four.peak.bytes);
  const std::int64_t more = eight.peak.bytes - four.peak.bytes;
  EXPECT_GT(more, 0);
  EXPECT_EQ(peak("gpipe", 16).peak.bytes - eight.peak.bytes, 2 * more);
  EXPECT_EQ(peak("1f1b", 32).peak.bytes, steady.peak.bytes);
  std::int64_t owned = 0;
  for (const MemoryOwner& owner : steady.owners) owned += owner.bytes;
  EXPECT_EQ(owned, steady.peak.bytes);
  EXPECT_EQ(steady.points.back().bytes, steady.points.front().bytes);  // all is freed again
}

}  // namespace
}  // namespace tw
