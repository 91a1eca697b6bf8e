// The whole chain over random legal layouts of shipped models on h100-sxm: more of anything never hurts,
// a fault touches the layouts that cross it and no other.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <map>

#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

constexpr const char* kModels[] = {"llama-3.1-8b", "llama-3.2-1b", "mixtral-8x7b", "deepseek-v2-lite"};

std::int32_t any_of(std::initializer_list<std::int32_t> values) {
  return *rc::gen::elementOf(std::vector<std::int32_t>(values));
}

const Model& any_model() {
  static const std::map<std::string, Model> models = [] {
    std::map<std::string, Model> all;
    for (const char* name : kModels) all.emplace(name, load_model(test::scenario("models", name)));
    return all;
  }();
  return models.at(kModels[*rc::gen::inRange(0, 4)]);
}

Layout any_sizes(const Model& model, std::int32_t gpus) {
  Layout l;
  l.tp = any_of({1, 2, 4, 8}), l.pp = any_of({1, 1, 2, 4}), l.cp = any_of({1, 1, 2, 4});
  l.dp = std::max(gpus / (l.tp * l.pp * l.cp), 1);
  if (model.has_moe()) l.ep = any_of({1, 2, 4, 8}), l.etp = any_of({1, 1, 2});
  l.sp = l.tp > 1 && *rc::gen::arbitrary<bool>();
  l.vpp = l.pp > 1 ? any_of({1, 1, 2}) : 1;
  l.schedule = l.vpp > 1 ? kScheduleInterleaved : kSchedule1F1B;
  l.zero = any_of({0, 1, 2, 3}), l.mb = any_of({1, 1, 2});
  if (l.zero > 0 && l.dp % 4 == 0 && l.cp == 1) l.hsdp = any_of({0, 0, 4});
  const int kind = any_of({0, 1, 2, 3});
  l.recompute.full = kind == 1;
  l.recompute.full_layers = kind == 1 ? any_of({0, 0, 3}) : 0;
  l.recompute.modules = kind == 2 ? Recompute::core : kind == 3 ? Recompute::norm | Recompute::moe_act : 0;
  return l;
}

constexpr std::int64_t kBatch = 128;
constexpr std::int32_t kSeq = 4096;

Layout any_legal(const Model& model, std::int32_t gpus) {
  const Job job{&model, kBatch, kSeq, gpus};
  for (int tries = 0; tries < 50; ++tries) {
    const Layout l = any_sizes(model, gpus);
    if (illegal_because(l, job).empty()) return l;
  }
  RC_DISCARD("no legal layout drawn");
}

// Everything for one prediction; a calibration given is used as it is on another cluster.
struct Run {
  Cluster cluster;
  Fabric fabric;
  Calibration calibration;
  Profile profile = test::megatron();

  explicit Run(Cluster c) : Run(c, load_calibration(test::scenario("calibrations", "h100-sxm"), c)) {}
  Run(Cluster c, Calibration k) : cluster(std::move(c)), fabric(cluster), calibration(std::move(k)) {}
  Run(const Run&) = delete;

  Evaluator evaluator(const Model& model, Bytes headroom = Bytes(0)) const {
    return {{&model, kBatch, kSeq, cluster.gpus},
            {&cluster, &fabric, &calibration, &profile},
            {headroom, {}, 20000}};
  }
  double seconds(const Model& model, const Layout& layout) const {
    return evaluator(model).cost(layout).step_seconds;
  }
};

const Run& base(std::int32_t gpus) {
  static const Run one(test::h100(8)), many(test::h100(64)), pods(test::h100(512));
  return gpus == 8 ? one : gpus == 64 ? many : pods;
}

bool not_above(double a, double b) {
  return a <= b * (1 + 1e-6);
}

RC_GTEST_PROP(Chain, TermsSumToTheStepAndAreNotNegative, ()) {
  const Model& model = any_model();
  const Layout l = any_legal(model, 64);
  const Cost cost = base(64).evaluator(model).cost(l);
  double sum = 0;
  for (const float part : cost.terms.exposed) sum += part;
  RC_ASSERT(std::abs(sum - cost.step_seconds) <= 1e-4 * cost.step_seconds);
  for (const float part : cost.terms.exposed) RC_ASSERT(part >= -1e-5f);
  for (const std::int64_t part : cost.memory.bytes) RC_ASSERT(part >= 0);
}

RC_GTEST_PROP(Chain, MoreMemoryNeverTurnsFeasibleIntoInfeasible, ()) {
  const Model& model = any_model();
  const Layout l = any_legal(model, 64);
  const Bytes less(std::int64_t{*rc::gen::inRange(0, 60)} << 30), more(less.count / 2);
  const Cost tight = base(64).evaluator(model, less).cost(l), wide = base(64).evaluator(model, more).cost(l);
  RC_ASSERT(!tight.fits || wide.fits);
  RC_ASSERT(tight.step_seconds == wide.step_seconds);
}

RC_GTEST_PROP(Chain, FasterLinksAreNeverSlower, ()) {
  const Model& model = any_model();
  const Layout l = any_legal(model, 64);
  Cluster faster = base(64).cluster;
  const double factor = 1 + *rc::gen::inRange(1, 30) / 10.0;
  if (*rc::gen::arbitrary<bool>()) {
    faster.device.nvlink_one_way = faster.device.nvlink_one_way * factor;
  } else {
    faster.node.nic_rate = faster.node.nic_rate * factor;
  }
  const Run quick(faster, base(64).calibration);
  RC_ASSERT(not_above(quick.seconds(model, l), base(64).seconds(model, l)));
}

RC_GTEST_PROP(Chain, FasterMemoryIsNeverSlower, ()) {
  const Model& model = any_model();
  const Layout l = any_legal(model, 64);
  Cluster faster = base(64).cluster;
  faster.device.memory_rate = faster.device.memory_rate * (1 + *rc::gen::inRange(1, 30) / 10.0);
  RC_ASSERT(not_above(Run(faster).seconds(model, l), base(64).seconds(model, l)));
}

Cluster with_fault(Cluster cluster, FaultKind kind, std::int32_t node, std::int32_t index) {
  Fault fault;
  fault.kind = kind, fault.node = node, fault.index = index;
  fault.share.value = 0.5;
  cluster.faults.value.push_back(fault);
  return cluster;
}

RC_GTEST_PROP(Chain, ALostNicOfOneNodeChangesNothing, ()) {
  const Model& model = any_model();
  const Layout l = any_legal(model, 8);
  const Run hurt(with_fault(base(8).cluster, FaultKind::nic, 0, *rc::gen::inRange(0, 8)),
                 base(8).calibration);
  RC_ASSERT(hurt.seconds(model, l) == base(8).seconds(model, l));
}

bool crosses_nodes(const GroupLinks& links) {
  return links.nodes > 1;
}

// Over 64 GPUs: every group that lies inside nodes costs the same; those between nodes, the hop of the
// pipeline too, cost more whichever node is hurt.
RC_GTEST_PROP(Chain, ALostNicChangesWhatCrossesIt, ()) {
  const Model& model = any_model();
  const Layout l = any_legal(model, 64);
  const Run hurt(
      with_fault(base(64).cluster, FaultKind::nic, *rc::gen::inRange(0, 8), *rc::gen::inRange(0, 8)),
      base(64).calibration);
  Evaluator before = base(64).evaluator(model), after = hurt.evaluator(model);
  const Chain a = before.chain(l), b = after.chain(l);
  for (const auto link : {&PassLinks::tp, &PassLinks::cp, &PassLinks::ep, &PassLinks::etp}) {
    const GroupLinks &was = a.pass->links.*link, &is = b.pass->links.*link;
    RC_ASSERT(was.intra == is.intra && was.nodes == is.nodes);
    RC_ASSERT((crosses_nodes(was) ? is.inter < was.inter : is == was));
  }
  const bool hop_crosses = l.pp > 1 && 64 / l.pp >= 8;
  RC_ASSERT((hop_crosses ? b.state->send > a.state->send : b.state->send == a.state->send));
  RC_ASSERT(not_above(before.cost(l).step_seconds, after.cost(l).step_seconds));
}

// A GPU that loses half its NVLink slows groups inside nodes, not those of one rank a node.
RC_GTEST_PROP(Chain, ALostNvswitchEdgeChangesWhatCrossesIt, ()) {
  const Model& model = any_model();
  const Layout l = any_legal(model, 64);
  const Run hurt(
      with_fault(base(64).cluster, FaultKind::nvswitch, *rc::gen::inRange(0, 8), *rc::gen::inRange(0, 8)),
      base(64).calibration);
  Evaluator before = base(64).evaluator(model), after = hurt.evaluator(model);
  const Chain a = before.chain(l), b = after.chain(l);
  for (const auto link : {&PassLinks::tp, &PassLinks::cp, &PassLinks::ep, &PassLinks::etp}) {
    const GroupLinks &was = a.pass->links.*link, &is = b.pass->links.*link;
    RC_ASSERT(was.inter == is.inter);
    RC_ASSERT((was.ranks_per_node > 1 ? is.intra < was.intra : is == was));
  }
  RC_ASSERT(not_above(before.cost(l).step_seconds, after.cost(l).step_seconds));
}

// 64 nodes are two pods of 32: only groups over both use the leaves' uplinks.
RC_GTEST_PROP(Chain, ALostUplinkChangesWhatCrossesPods, ()) {
  const Model& model = any_model();
  const Layout l = any_legal(model, 512);
  const Run hurt(
      with_fault(base(512).cluster, FaultKind::leaf_uplink, *rc::gen::inRange(0, 2), *rc::gen::inRange(0, 8)),
      base(512).calibration);
  Evaluator before = base(512).evaluator(model), after = hurt.evaluator(model);
  const Chain a = before.chain(l), b = after.chain(l);
  for (const auto link : {&PassLinks::tp, &PassLinks::cp, &PassLinks::ep, &PassLinks::etp}) {
    const GroupLinks &was = a.pass->links.*link, &is = b.pass->links.*link;
    RC_ASSERT((was.tier == 2 ? is.inter < was.inter : is == was));
  }
  // pp = 2: the hop from pod to pod; pp = 4: one of its hops.
  RC_ASSERT((l.pp > 1 ? b.state->send > a.state->send : b.state->send == a.state->send));
  if (l.pp == 1 && l.zero == 0) RC_ASSERT(b.state->reduce.seconds > a.state->reduce.seconds);
}

// Pricing does not depend on what was priced before, nor on a cache that starts anew in the middle.
RC_GTEST_PROP(Chain, CachesDoNotShow, ()) {
  const Model& model = any_model();
  const Run& run = base(64);
  Evaluator warm = run.evaluator(model);
  Evaluator forgetful({&model, kBatch, kSeq, 64}, {&run.cluster, &run.fabric, &run.calibration, &run.profile},
                      {Bytes(0), {}, 1});
  for (int i = 0; i < 6; ++i) {
    const Layout l = any_legal(model, 64);
    const double fresh = run.seconds(model, l);
    RC_ASSERT(warm.cost(l).step_seconds == fresh);
    RC_ASSERT(forgetful.cost(l).step_seconds == fresh);
  }
}

}  // namespace
}  // namespace tw
