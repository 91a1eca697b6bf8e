// From an operation to seconds: the calibration's curve for the kernel, or for the collective on the
// shape its group has on the cluster. The only place where an op meets a calibration.
#pragma once

#include <unordered_map>
#include <vector>

#include "costmodel/profile.hpp"
#include "costmodel/program/op.hpp"
#include "costmodel/program/work.hpp"

namespace tw {

struct PricedOp {
  double seconds = 0;
  double host = 0;   // seconds of the host to issue it
  float spread = 0;  // relative standard deviation of `seconds`
  float lost =
      -1;  // of a network op: what compute beside it loses of each second; below 0: not known by size
  float yields = 1;  // of a compute op: part of its time that a network op beside it can use
  Term term = Term::gemm;
  CurveId curve = CurveId::gemm;
  Stream stream = Stream::compute;
  bool network_tier = false;  // crosses nodes
  bool synchronises = false;  // the host waits for the device here
  bool weight_half = false;
  bool beside = false;  // under the compute of another micro-batch: nothing of its own waits for it
  Provenance provenance = Provenance::measured;
  bool extrapolated = false;
  std::array<std::int16_t, 3> after = {-1, -1, -1};
};

struct PricedList {
  std::vector<PricedOp> ops;
  std::int16_t output = -1;  // the op that the next layer waits for
};

struct PricedLayer {
  PricedList forward, backward;
};

// What everything is priced with.
struct Machine {
  const Cluster* cluster = nullptr;
  const Fabric* fabric = nullptr;
  const Calibration* calibration = nullptr;
  const Profile* profile = nullptr;
};

// An op of the network that moves `bytes` at once while compute runs beside it.
void slow_beside_compute(PricedOp& op, const Calibration& calibration, double bytes);

// Shapes of the groups inside one pass key.
struct PassLinks {
  GroupLinks tp, cp, ep, etp;
  friend bool operator==(const PassLinks&, const PassLinks&) = default;
};
PassLinks pass_links(const Machine& machine, const PassKey& key);
GroupLinks links_of(const Fabric& fabric, const std::vector<Axis>& axes);

// Empty where GEMMs of this precision can be priced on this GPU, else why not.
std::string unpriced_because(Precision precision, const Gpu& gpu, const Calibration& calibration);

class Pricer {
 public:
  Pricer(const Machine& machine, Precision precision) : machine_(machine), precision_(precision) {}
  const Machine& machine() const { return machine_; }
  void set(Dispatch how, Precision precision) { dispatch_ = how, precision_ = precision; }
  PricedOp price(const Op& op, const PassLinks& links);
  PricedList price(const OpList& ops, std::int16_t output, const PassLinks& links);
  // Both passes of a layer, at the clock that their mix of kernels leaves.
  PricedLayer price(const LayerWork& work, const PassLinks& links);

  // Distinct nodes that the top_k experts of a token lie on, n nodes alike: n(1-(1-1/n)^k), at most
  // `limit` when routing is node-limited (derived: each of k draws misses a node with 1-1/n).
  static double distinct_nodes(double nodes, double copies, double limit);

 private:
  Estimate estimate(const Op& op, const PassLinks& links);
  Estimate dispatch(const DispatchWork& work, const GroupLinks& links, Dispatch how) const;
  Estimate kernel(const Op& op);
  Estimate low_precision(const Op& op);
  Estimate in_math(const Op& op);

  Machine machine_;
  Precision precision_;
  Dispatch dispatch_ = Dispatch::direct;
  std::unordered_map<std::uint64_t, Estimate> known_;  // kernels by shape
};

}  // namespace tw
