// What kernels and links really cost on one GPU type: measured, published or derived curves, each
// with its range and spread. Every query answers with a time, a relative standard deviation and
// where the number comes from; outside its range the answer says so and its spread widens.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "topology/cluster.hpp"
#include "topology/dtype.hpp"
#include "topology/fabric.hpp"

namespace tw {

enum class Provenance : std::uint8_t { measured, published, derived };
// Curves whose errors go together: a band adds terms of one curve linearly, others in squares.
enum class CurveId : std::uint8_t {
  gemm,
  grouped_gemm,
  attention,
  elementwise,
  copy,
  intra_collective,
  inter_collective,
  point_to_point,
  host
};
inline constexpr int kCurves = 9;

struct Estimate {
  Seconds time;
  double spread = 0;  // relative standard deviation
  CurveId curve = CurveId::gemm;
  Provenance provenance = Provenance::measured;
  bool extrapolated = false;
};

// forward: [m,k]x[k,n]; dgrad: [m,n]x[n,k]; wgrad: [k,m]x[m,n] with fp32 accumulation. m, n, k are
// always the forward's, so that one layer's three GEMMs are asked for by one shape.
enum class GemmPass : std::uint8_t { forward, dgrad, wgrad };
struct GemmShape {
  std::int64_t m = 0, n = 0, k = 0;
  GemmPass pass = GemmPass::forward;
  bool accumulate_fp32 = false;  // wgrad adds into an fp32 buffer (reads and writes 4 bytes each)
};
struct GroupedGemmShape {
  std::int64_t groups = 0;
  double rows = 0;           // per group, mean
  double max_over_mean = 1;  // of rows over the groups of one rank
  std::int64_t n = 0, k = 0;
  GemmPass pass = GemmPass::forward;
  bool accumulate_fp32 = false;
};
enum class AttentionKernel : std::uint8_t { unfused, flash1, flash2, flash3, cudnn };
// current: of the calibration's rows; early: of the first two years after the architecture came out.
enum class GemmLibrary : std::uint8_t { current, early };
struct AttentionShape {
  std::int64_t batch = 0, heads = 0, kv_heads = 0, q_len = 0, kv_len = 0;
  std::int64_t head_dim = 0, value_dim = 0;
  double pairs = 0;  // attended (q, k) pairs per head and sequence, e.g. q_len*(q_len+1)/2 causal
  bool backward = false;
  AttentionKernel kernel = AttentionKernel::cudnn;
};

// Bytes: the whole buffer. all_gather: its output; reduce_scatter, all_reduce: its input;
// all_to_all: what one rank holds (sends ranks-1 of ranks parts of it); send: the message.
enum class Collective : std::uint8_t { all_reduce, all_gather, reduce_scatter, all_to_all, send };

class Calibration {
 public:
  Estimate gemm(const GemmShape& shape) const;
  Estimate grouped_gemm(const GroupedGemmShape& shape) const;
  Estimate attention(const AttentionShape& shape) const;
  // Chunks of a state-space scan: their products at the rate of an attention kernel, after their traffic.
  Estimate scan(Flops flops, Bytes bytes) const;
  // A memory-bound operator that moves `bytes` (read + written) in one kernel.
  // Where the op of that name has rows of its own, by those.
  Estimate elementwise(Bytes bytes, std::string_view name = {}, bool backward = false) const;
  // The same, of a kernel that writes a wider type than it reads.
  Estimate widening(Bytes bytes) const;
  Estimate collective(Collective kind, const GroupLinks& links, Bytes bytes) const;
  // All-to-all with uneven tiers: bytes each rank sends inside its node and out of it.
  Estimate all_to_all(const GroupLinks& links, double intra_bytes, double inter_bytes) const;
  // How much longer a kernel of this curve takes in the middle of training than in a burst.
  double sustained(CurveId curve) const;
  // The same over sustained(curve) in a layer whose compute is that share GEMMs; outside the layers that were
  // measured, the nearest. 1 where none was.
  double sustained_in_mix(CurveId curve, double gemm_share) const;
  // How much longer a GEMM takes with a library of that age.
  double library(GemmLibrary library) const;
  // Elements cast for a GEMM; `bytes` read and written for each, 0: as the recipe does; in so many kernels.
  struct Casts {
    double elements = 0, bytes = 0, kernels = 1;
  };
  // A GEMM of a low-precision recipe ("fp8-current", ...): the bf16 one, faster by `peaks` (the GPU's
  // data-sheet ratio) times the share that recipe reaches, and the casts of its operands.
  Estimate low_precision(std::string_view recipe, const Estimate& bf16, double peaks,
                         const Casts& casts) const;
  bool knows_recipe(std::string_view recipe) const;
  // Device to host or back, per GPU.
  Estimate host_copy(Bytes bytes) const;

  Seconds synchronise() const;      // host waits for the device and reads a value
  double compute_slowdown() const;  // of compute while a collective runs beside it (>= 1)
  // Of a collective of that size while compute runs beside it (>= 1), and what compute loses of each second
  // that it takes; where that was not measured by size, network_slowdown of the file and nothing.
  struct Beside {
    double network = 1;
    std::optional<double> lost;
  };
  Beside beside(double bytes, bool between_nodes) const;
  Seconds handover() const;    // of an exchange beyond its curve, where compute waits for it
  double gemm_yields() const;  // part of a GEMM's time that an exchange begun with it can use
  Bytes context() const;       // device memory of a CUDA context with its libraries
  Bytes communicator(std::int32_t ranks) const;  // device memory of one NCCL communicator

  // The same costs where the switches do not reduce: the algorithm is a property of the run, not of
  // the GPU.
  Calibration without_nvls() const;
  // The same where what runs at once costs each other nothing.
  Calibration without_interference() const;
  // The same where a kernel runs alone, the chip below its power limit: sustained ratios of 1.
  Calibration in_bursts() const;

  // Relative standard deviation of a whole step that carrying over to another GPU adds; 0: measured there.
  double carried_spread() const;

  const std::string& name() const;
  double likeness() const;             // program/routing.hpp
  const std::string& machine() const;  // that it was measured on and holds for alone; empty: any of its GPU
  Provenance provenance() const;       // of the GEMM curve: the headline

  struct Data;  // curves.cpp
  const Data& data() const { return *data_; }

 private:
  friend Calibration calibration_of(const JsonView& file, const Cluster& cluster);
  std::shared_ptr<const Data> data_;
};

// InputError names file, path and what is legal. A calibration measured on another GPU is carried
// over to the cluster's GPU by the stated rules (then every estimate is `derived`).
Calibration load_calibration(std::string_view name_or_path, const Cluster& cluster);
// The same from a file that is parsed already.
Calibration calibration_of(const JsonView& file, const Cluster& cluster);

}  // namespace tw
