// A probe: which cases it measures and how one is measured. Every probe calls the functions of
// kernels/backend/gpu that the trainer calls.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "calibrate/measure/row_log.hpp"
#include "calibrate/measure/watch.hpp"
#include "kernels/backend/gpu/collectives.hpp"
#include "kernels/backend/gpu/device.hpp"
#include "kernels/backend/gpu/dnn_graph.hpp"
#include "kernels/backend/gpu/gemm.hpp"

namespace tw::gpu {

// The ranks of this launch, one GPU each. Nodes as NCCL sees them: hosts, or what NCCL_HOSTID says.
struct Launch {
  std::int32_t ranks = 1, nodes = 1;
};

struct Case {
  std::string op;
  std::vector<std::int64_t> shape;
  std::string use = "fit";
};

// What all probes share: one GPU, its stream and handles, and the other ranks.
struct Bench {
  std::int32_t rank = 0, ranks = 1;
  OwnedStream stream, second, urgent{true};
  DeviceFacts facts = device_facts();
  GpuWatch watch{facts.uuid};
  Blas blas{stream};
  std::unique_ptr<Dnn> dnn;                  // made when first needed
  std::optional<Communicator> communicator;  // of several ranks
  bool record = true;                        // short executions may be replayed from a graph
};

struct Probe {
  const char* name;
  std::vector<std::string> ops;
  bool together;  // all ranks measure at once; else the first alone
  std::vector<Case> (*cases)(const Launch& launch);
  std::vector<LogRow> (*measure)(Bench& bench, const Case& one);
};
extern const Probe kGemm, kGroupedGemm, kGroupedProducts, kAttention, kElementwise, kCopies, kLaunches,
    kLayer, kExchanges, kBeside, kHandover;

// Enqueues one execution; `turn` counts up, so that operands rotate.
using Run = std::function<void(std::int64_t turn)>;

// kHot: long enough at full load for the clock to settle at the power limit, as in training.
inline constexpr double kHot = 0.12;
struct BurstRule {
  double warm = 0.02, seconds = 0.06;  // of device time
  double error = 0.005;                // relative, of the median: below it no further round
  int rounds = 3;
  std::int64_t batches = 60;  // of a round, at most
  bool recorded = true;       // short executions are replayed from a graph
  bool together = false;      // every rank runs the same executions; times are the slowest's
};
// Seconds per execution in batches of at least a millisecond, after warming up.
LogRow burst(Bench& bench, const Case& one, const BurstRule& rule, const Run& run);

// Copies of operands, together larger than twice the L2, filled with normal values.
class Rotating {
 public:
  Rotating(const Bench& bench, std::int64_t elements, float scale, std::int64_t set_bytes);
  void* at(std::int64_t turn) const {
    return buffers_[static_cast<std::size_t>(turn) % buffers_.size()].data();
  }
  std::int64_t count() const { return static_cast<std::int64_t>(buffers_.size()); }
  void each(const std::function<void(void*)>& use) const {
    for (const Buffer& buffer : buffers_) use(buffer.data());
  }

 private:
  std::vector<Buffer> buffers_;
};

std::span<const Probe* const> all_probes();
const Probe* probe_of(const std::string& op);  // null where none knows it
// "op d d d" of a line; nothing where no probe knows the op.
std::optional<Case> parse_case(const std::string& line);

}  // namespace tw::gpu
