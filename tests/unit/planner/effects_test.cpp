// Effects that were published on machines of others (scenarios/effects, each with its source), simulated with
// links shared: their sign, and whether their size (what is gained: the ratio less one) is right within a
// factor of two. Which are not is in the golden, and so in the review when it changes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "costmodel/dispatch.hpp"
#include "costmodel/sim/simulate.hpp"
#include "tests/support/golden.hpp"
#include "tests/support/problems.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

struct Variant {
  Defaulted<std::string> layout, a2a;
  Defaulted<std::int32_t> a2a_chunks{1};
};
TW_DESCRIBE(Variant, layout, a2a, a2a_chunks);

// measure: faster, the step's time before over after; hidden, the part of the wait for exchanges of routed
// tokens that is gone after; dispatch, the time of one exchange over all GPUs before over after.
struct Effect {
  std::string schema, title, source, measure;
  double published = 0;
  std::string cluster;
  Defaulted<std::string> model, framework, capacity_factor, bytes;
  Defaulted<std::int64_t> global_batch;
  Defaulted<std::int32_t> seq;
  Variant before, after;
};
TW_DESCRIBE(Effect, schema, title, source, measure, published, cluster, model, framework, capacity_factor,
            bytes, global_batch, seq, before, after);

SimulatedStep step_of(const Effect& e, const Variant& variant) {
  Asked asked;
  const bool path = e.model->find('/') != std::string::npos;
  asked.model = path ? scenarios_folder() + "/" + *e.model + ".json" : *e.model;
  asked.cluster = e.cluster, asked.framework = *e.framework, asked.capacity_factor = *e.capacity_factor;
  asked.global_batch = std::to_string(*e.global_batch), asked.seq = std::to_string(*e.seq);
  const Inputs inputs = load_inputs(asked);
  const Problem problem(inputs, inputs.cluster.gpus);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  SimSettings settings;
  settings.contention = true, settings.pieces = *variant.a2a_chunks;
  return simulate(evaluator, parse_layout(*variant.layout, problem.job.gpus), inputs.settings.routing,
                  settings);
}

// Of the rank that ends last.
double waits_for_tokens(const SimulatedStep& step) {
  double most = 0;
  for (const PlayerTimes& player : step.run.players)
    most = std::max(most, seconds(player.terms[static_cast<std::size_t>(Term::ep)]));
  return most;
}

double dispatch_seconds(const Cluster& cluster, Bytes bytes, Dispatch how) {
  const Calibration calibration = load_calibration(cluster.calibration, cluster);
  const Fabric fabric(cluster);
  const GroupAxis all{cluster.gpus, 1};
  const GroupLinks links = fabric.links(std::span(&all, 1));
  const DispatchWork work{expert_group(bit(Dim::ep)), bytes, 1, 0};
  return dispatch_time(calibration, links, dispatch_bytes(work, links, how), how).time.value;
}

double simulated(const Effect& e) {
  if (e.measure == "dispatch") {
    const Cluster cluster = load_cluster(e.cluster);
    const Bytes bytes = *parse_unit<Bytes>(*e.bytes).value;
    const auto of = [&](const Variant& v) {
      return dispatch_seconds(cluster, bytes, parse_layout("dp=2,ep=2,a2a=" + *v.a2a, 2).dispatch);
    };
    return of(e.before) / of(e.after);
  }
  const SimulatedStep before = step_of(e, e.before), after = step_of(e, e.after);
  if (e.measure == "hidden") return 1 - waits_for_tokens(after) / waits_for_tokens(before);
  EXPECT_EQ(e.measure, "faster");
  return before.seconds / after.seconds;
}

std::string verdict(const Effect& e, double found) {
  const bool part = e.measure == "hidden";
  const double size = part ? found / e.published : (found - 1) / (e.published - 1);
  if (size <= 0) return "wrong sign";
  if (size < 0.5) return "too small";
  return size > 2 ? "too large" : "right size";
}

TEST(Effects, HaveTheirSign) {
  std::string table;
  for (const std::string& name : scenario_names("effects")) {
    const auto e = read<Effect>(load_json(scenario_path("effects", name)));
    const double found = simulated(e);
    const std::string said = verdict(e, found);
    EXPECT_NE(said, "wrong sign") << name;
    table += fmt::format("{:<28} {:<8} published {:.3f}, simulated {:.3f}: {}\n", name, e.measure,
                         e.published, found, said);
  }
  expect_golden("effects.txt", table);
}

// Node first gains with the number of GPUs, as messages get smaller, and loses where they are large (Tutel,
// section 3.3): more messages saved against bytes that pass NVLink first.
TEST(Effects, NodeFirstGainsWithScale) {
  const auto gain = [](const std::string& cluster, Bytes bytes) {
    const Cluster c = load_cluster(cluster);
    return dispatch_seconds(c, bytes, Dispatch::direct) / dispatch_seconds(c, bytes, Dispatch::two_level);
  };
  const Bytes small = *parse_unit<Bytes>("1 MiB").value, large = *parse_unit<Bytes>("1 GiB").value;
  double last = 0;
  for (const char* gpus : {"16", "64", "256", "512", "1024", "2048"}) {
    const double now = gain(std::string("a100-80g-sxm:") + gpus, small);
    EXPECT_GT(now, last) << gpus;
    last = now;
  }
  EXPECT_GT(last, 4);
  EXPECT_LT(gain("a100-80g-sxm:16", large), 1);
}

}  // namespace
}  // namespace tw
