// The curves of a calibration: their parameters as a file holds them, and the closed forms that
// turn them into times. The fit (calibrate/fit) and the queries (calibration.hpp) share these forms.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "costmodel/calibration.hpp"
#include "topology/described.hpp"

namespace tw {

constexpr auto enum_names(const Provenance*) {
  return std::array<std::pair<Provenance, std::string_view>, 3>{{{Provenance::measured, "measured"},
                                                                 {Provenance::published, "published"},
                                                                 {Provenance::derived, "derived"}}};
}

constexpr auto enum_names(const Collective*) {
  return std::array<std::pair<Collective, std::string_view>, 5>{
      {{Collective::all_reduce, "all_reduce"},
       {Collective::all_gather, "all_gather"},
       {Collective::reduce_scatter, "reduce_scatter"},
       {Collective::all_to_all, "all_to_all"},
       {Collective::send, "send"}}};
}

constexpr std::string_view name_of(Collective kind) {
  for (const auto& [value, name] : enum_names(static_cast<const Collective*>(nullptr))) {
    if (value == kind) return name;
  }
  return {};
}

// A row of the fit: what was run, what was measured and what the fitted curve says.
struct CurvePoint {
  std::string at;
  Seconds measured, fitted;
};
TW_DESCRIBE(CurvePoint, at, measured, fitted);

// Relative residuals |log(fitted/measured)|; left_out: of each row by a fit without it, or of the rows that
// were measured to judge the fit, where there are such.
struct Residuals {
  std::int32_t rows = 0;
  double median = 0, p95 = 0, left_out_median = 0, left_out_p95 = 0;
};
TW_DESCRIBE(Residuals, rows, median, p95, left_out_median, left_out_p95);

// spread: relative standard deviation inside the range. Outside it the variance grows by
// (per_octave * octaves outside)^2 and the estimate is flagged.
struct Evidence {
  Provenance provenance = Provenance::measured;
  double spread = 0;
  double per_octave = 0;
  std::string source;
  Defaulted<Residuals> residuals;
  Defaulted<std::vector<CurvePoint>> points;
};
TW_DESCRIBE(Evidence, provenance, spread, per_octave, source, residuals, points);

// The GPU the curves belong to. load_calibration carries over when the cluster's differs.
struct CalibratedDevice {
  std::string gpu, architecture;
  std::int32_t sms = 0;
  FlopsPerSec bf16;
  BytesPerSec memory_rate, nvlink_one_way, pcie_one_way;
  Watts power;
};
TW_DESCRIBE(CalibratedDevice, gpu, architecture, sms, bf16, memory_rate, nvlink_one_way, pcie_one_way, power);

// time = overhead + (compute^overlap + memory^overlap)^(1/overlap), the soft maximum of tensor-core
// and memory time. memory: s + sqrt(memory_ramp*s), s = bytes over memory_share of the copy rate
// (short streams reach less of it). compute: tiles in waves over the SMs, `tail` of a partly filled wave is
// paid; each tile works k + fill deep (pipeline fill and epilogue) at the SM's share of `rate`, slower where
// its flops per operand element, i = m*n/(m+n), are below `intensity`: then L2 feeds it.
struct TileShape {
  std::int32_t rows = 0, cols = 0;
};
TW_DESCRIBE(TileShape, rows, cols);

struct GemmCurve {
  FlopsPerSec rate;      // of the whole GPU in full waves of the largest tile
  FlopsPerSec odd_rate;  // n or k odd: no 16-byte loads
  Seconds overhead, memory_ramp;
  double fill = 0, tail = 0, intensity = 0, memory_share = 0, overlap = 0;
  double min_rows = 0, min_size = 0;  // range: m, then n and k
  Defaulted<double> exposed{0};
  Flops max_flops;
  Evidence evidence;
  Defaulted<std::vector<TileShape>> tiles;  // of the library's kernels; none: cuBLAS on tensor cores
};
TW_DESCRIBE(GemmCurve, rate, odd_rate, overhead, memory_ramp, fill, tail, intensity, memory_share, overlap,
            min_rows, min_size, exposed, max_flops, evidence, tiles);

// time = overhead + (batch*heads*(pairs + padding*q_len) + sms*tail_rows*(kv_len +
// padding))*seconds_per_pair. padding: pairs' worth of work per query row (half-masked diagonal tiles,
// prologue, conversions). tail_rows: query rows over the whole length that each SM works on when the others
// run out of blocks (few heads, short sequences).
struct AttentionCurve {
  FlopsPerSec rate;  // at head_dim
  double padding = 0;
  Defaulted<double> tail_rows{0};
  Defaulted<double> exponentials{
      1};  // per pair: special functions and conversions, in units of one exponential
  Seconds overhead;
  double min_length = 0, max_length = 0;
  Evidence evidence;
};
TW_DESCRIBE(AttentionCurve, rate, padding, tail_rows, exponentials, overhead, min_length, max_length,
            evidence);

struct AttentionKernelCurves {
  AttentionCurve forward, backward;
};
TW_DESCRIBE(AttentionKernelCurves, forward, backward);

// A kernel without rows of its own: `speed` times the kernel `of`.
struct ScaledKernel {
  std::string of;
  double speed = 1, spread = 0;
  std::string source;
};
TW_DESCRIBE(ScaledKernel, of, speed, spread, source);

struct UnfusedCurve {  // bytes moved per score by softmax and dropout
  double forward_bytes = 0, backward_bytes = 0, spread = 0;
  std::string source;
};
TW_DESCRIBE(UnfusedCurve, forward_bytes, backward_bytes, spread, source);

struct AttentionCurves {
  std::int32_t head_dim = 0;    // of the fitted rows
  FlopsPerSec exponential;      // exponentials per second of the GPU, one per pair
  double other_dim_spread = 0;  // added in squares at another head size
  AttentionKernelCurves flash2, cudnn;
  ScaledKernel flash1, flash3;
  ScaledKernel scan;  // products of a state-space scan
  UnfusedCurve unfused;
  std::string source;
};
TW_DESCRIBE(AttentionCurves, head_dim, exponential, other_dim_spread, flash2, cudnn, flash1, flash3, scan,
            unfused, source);

struct MemoryCurve {  // time = overhead + bytes / rate
  BytesPerSec rate;
  Seconds overhead;
  Bytes min_bytes, max_bytes;
  Evidence evidence;
  Defaulted<BytesPerSec> widening;  // at most, of kernels that cast to a wider type: bound by the SMs
};
TW_DESCRIBE(MemoryCurve, rate, overhead, min_bytes, max_bytes, evidence, widening);

// time = base + hops*hop + wire*(1 + (ramp/wire)^power), wire = bytes on the busiest link
// over efficiency * link rate: messages shorter than the ramp reach less of the link. power < 1, so
// time grows with bytes.
struct LinkCurve {
  double efficiency = 0;
  Seconds ramp;
  double power = 0;
  Seconds base, hop;
  Bytes min_bytes, max_bytes;
  Evidence evidence;
};
TW_DESCRIBE(LinkCurve, efficiency, ramp, power, base, hop, min_bytes, max_bytes, evidence);

// Times of one collective on groups of one shape, as measured, the library's choices of protocol and channels
// in them: between two sizes a straight line (a latency and a rate: what NCCL's own model gives a protocol).
// Sizes rise, times do not fall. They hold on links of this rate and nowhere else.
struct ExchangeTable {
  Collective collective = Collective::all_reduce;
  std::int32_t ranks = 0;            // of a send: any
  Defaulted<std::int32_t> nodes{1};  // 1, or as many as ranks
  BytesPerSec link;                  // a rank's NVLink, or its network
  std::vector<Bytes> sizes;
  std::vector<Seconds> times;
  Evidence evidence;
};
TW_DESCRIBE(ExchangeTable, collective, ranks, nodes, link, sizes, times, evidence);

struct LinkCurves {
  bool nvls = false;                                         // the switches reduce (NVLink SHARP)
  std::int32_t logged_ranks_per_node = 0, logged_nodes = 0;  // of the rows between nodes
  double other_shape_spread = 0;                             // added in squares with fewer ranks per node
  LinkCurve ring_intra, nvls_intra, pairwise_intra, send_intra;
  LinkCurve ring_inter, tree_inter, pairwise_inter, send_inter;
  Defaulted<std::vector<ExchangeTable>> tables;  // stand before the curves, where one fits the group
};
TW_DESCRIBE(LinkCurves, nvls, logged_ranks_per_node, logged_nodes, other_shape_spread, ring_intra, nvls_intra,
            pairwise_intra, send_intra, ring_inter, tree_inter, pairwise_inter, send_inter, tables);

// GEMMs and a collective of one size at once, both without a pause: the collective takes `network` times as
// long as alone (it waits for blocks of a GEMM to end, then shares SMs and memory), and of each second that
// it takes compute loses `lost` of one.
struct Interference {
  Bytes bytes;
  double network = 1, lost = 0;
};
TW_DESCRIBE(Interference, bytes, network, lost);

struct HostCosts {
  Seconds launch, synchronise;
  double compute_slowdown = 1, network_slowdown = 1;
  // Inside a node, by rising size, in place of the two; straight lines over the logarithm of the size.
  Defaulted<std::vector<Interference>> beside;
  // What an exchange takes beyond its curve where compute waits for it: streams hand over, and ranks wait
  // for one another.
  Defaulted<Seconds> handover{Seconds(0)};
  // Part of a GEMM's time in which an exchange that begins with it gets multiprocessors: library products
  // hold all of them until their last tiles.
  Defaulted<double> gemm_yields{1.0};
  Bytes context, communicator, communicator_per_rank;
  double copy_share = 0;  // of the PCIe rate
  Seconds copy_overhead;
  double spread = 0;
  std::string source;
};
TW_DESCRIBE(HostCosts, launch, synchronise, compute_slowdown, network_slowdown, beside, handover, gemm_yields,
            context, communicator, communicator_per_rank, copy_share, copy_overhead, spread, source);

// How another architecture differs beyond its data sheet: shares are of the data-sheet rates.
struct CarryOver {
  double gemm_share = 0;               // of the bf16 peak
  double attention_share = 0;          // flash2 forward and backward together: multiplies rate/peak
  double fused_share = 0;              // cudnn: multiplies rate/peak
  double sustained = 1;                // GEMM in training over a burst, beyond the calibrated GPU's own ratio
  Defaulted<double> sustained_low{0};  // the same of 8 and 4 bits, which draw less power; 0: as `sustained`
  double link_scale = 1;               // of the in-node efficiencies
  double link_latency = 1, link_ramp = 1;  // of the in-node base and hop, and of the ramp
  bool nvls = false;
  Defaulted<bool>
      accumulates_apart;  // experts' weight gradients are added up after the product, not under it
  Defaulted<double> power_exponent{1.0 / 3};  // of the clock, over power per peak FLOP
  double spread = 0;                          // of a whole step
  Defaulted<double> routed_spread;            // more where layers are routed
  std::string source;
};
TW_DESCRIBE(CarryOver, gemm_share, attention_share, fused_share, sustained, sustained_low, link_scale,
            link_latency, link_ramp, nvls, accumulates_apart, power_exponent, spread, routed_spread, source);

// GEMMs of one low-precision recipe: `share` of the data-sheet ratio to bf16 is reached, and every
// activation and gradient element is cast on the way: bytes read and written per element.
struct LowPrecisionRule {
  double share = 0, cast_bytes = 0, spread = 0;
  std::string source;
};
TW_DESCRIBE(LowPrecisionRule, share, cast_bytes, spread, source);

struct DerivedPasses {  // dgrad and wgrad: the same tiles with their own shapes, no rows
  double spread = 0;
  std::string source;
};
TW_DESCRIBE(DerivedPasses, spread, source);

// The rows the curves were fitted to, as paths under scenarios/.
struct FitInputs {
  std::string kernels;      // of this GPU
  std::string collectives;  // measured between GPUs of one node
  std::string published;    // collectives
  // Logs of trainwright-calibrate-gpu on this GPU: their operations stand before those of the other files.
  Defaulted<std::vector<std::string>> logs;
  Defaulted<BytesPerSec> network;  // of a rank, between the nodes of a log that has several
};
TW_DESCRIBE(FitInputs, kernels, collectives, published, logs, network);

// The same ratios in a layer whose compute is that share GEMMs: they draw the most power, so a mix with fewer
// runs at a higher clock.
struct LoadAtShare {
  double gemm_share = 0;
  double gemm = 1, attention = 1, elementwise = 1;
};
TW_DESCRIBE(LoadAtShare, gemm_share, gemm, attention, elementwise);

// Times in the middle of training over times in a burst: the chip at its power limit. Each curve
// keeps its burst rows; the pricer multiplies.
struct SustainedLoad {
  double gemm = 1, attention = 1, elementwise = 1;  // of a layer of no known mix
  Defaulted<double> low_over_gemm{1.0};             // GEMMs of 8 and 4 bits: their ratio over that of bf16
  Defaulted<std::vector<LoadAtShare>> mixes;        // of layers that were measured whole, by rising share
  std::string source;
};
TW_DESCRIBE(SustainedLoad, gemm, attention, elementwise, low_over_gemm, mixes, source);

// How errors of kernels become errors of a step. A curve's spread is that of one shape; a step runs many,
// whose errors cancel in part: `shared` of it is left (1: all shapes are wrong alike; at least
// 1/sqrt(shapes)). `routed`: a step with routed layers is less known than its kernels, relative,
// and so is one in low precision: what a recipe's rule does not know is wrong alike for all its GEMMs.
struct StepErrors {
  double shared = 1, routed = 0;
  Defaulted<double> low_precision{0};
  std::string source;
};
TW_DESCRIBE(StepErrors, shared, routed, low_precision, source);

// GEMMs of libraries of an architecture's first two years: `speed` times the calibrated rate.
struct EarlyGemm {
  std::string architecture;
  double speed = 1;
  std::string source;
};
TW_DESCRIBE(EarlyGemm, architecture, speed, source);

// An operator with rows of its own: what bounds it is not the memory (exponentials on a CPU), or it moves
// more than the bytes that its price counts. Bytes are those that it is priced by.
struct OperatorCurves {
  MemoryCurve forward, backward;
};
TW_DESCRIBE(OperatorCurves, forward, backward);

struct CalibrationFile {
  std::string title, date, driver, command, source;
  Defaulted<std::string> machine;  // a CPU's, as its programs name it: measured nowhere else
  Defaulted<FitInputs> inputs;
  CalibratedDevice device;
  GemmCurve gemm, grouped_gemm;
  DerivedPasses passes;
  Defaulted<SustainedLoad> sustained;
  Defaulted<StepErrors> step_errors;
  Defaulted<EarlyGemm> early_gemm;
  AttentionCurves attention;
  MemoryCurve elementwise;
  Defaulted<std::map<std::string, OperatorCurves>> operators;  // by the name of the op; others: elementwise
  LinkCurves links;
  HostCosts host;
  // Of the choices of tokens where routers are not trained (program/routing.hpp); 0: not measured, balanced.
  Defaulted<double> likeness{0.0};
  std::map<std::string, CarryOver> carry_over;                       // by architecture
  Defaulted<std::map<std::string, LowPrecisionRule>> low_precision;  // by recipe; all derived so far
};
TW_DESCRIBE(CalibrationFile, title, date, driver, command, source, machine, inputs, device, gemm,
            grouped_gemm, passes, sustained, step_errors, early_gemm, attention, elementwise, operators,
            links, host, likeness, carry_over, low_precision);

struct Calibration::Data : CalibrationFile {
  std::string name;
  bool accumulates_apart = false;                        // CarryOver's
  double carried_spread = 0, carried_routed_spread = 0;  // of a step on another GPU: CarryOver's
};

// One GEMM, or `groups` equal ones in one kernel, output rows x cols. extra_bytes: traffic beyond
// operands and result (fp32 accumulation).
struct TileWork {
  double rows = 0, cols = 0, depth = 0, groups = 1;
  double extra_bytes = 0;
  bool odd = false;
  bool skewed = false;  // groups differ in rows: half a tile more per group on average
};
TileWork tile_work(const GemmShape& shape);
TileWork tile_work(const GroupedGemmShape& shape);
Seconds gemm_time(const GemmCurve& curve, std::int32_t sms, BytesPerSec copy_rate, const TileWork& work);
double gemm_flops(const TileWork& work);

struct PairWork {
  double rows = 0;             // batch * heads * q_len
  double length = 0;           // kv_len
  double pairs = 0;            // batch * heads * pairs
  double matmul_flops = 0;     // per pair
  double reference_flops = 0;  // per pair at the fitted head size
};
PairWork pair_work(const AttentionShape& shape, std::int32_t reference_dim);
// Of the whole GPU.
struct AttentionUnits {
  FlopsPerSec exponential;
  double sms = 0;
};
Seconds attention_time(const AttentionCurve& curve, const AttentionUnits& units, const PairWork& work);

Seconds memory_time(const MemoryCurve& curve, double bytes);
// Null where none was measured on groups of this shape.
const ExchangeTable* table_for(const LinkCurves& curves, Collective kind, const GroupLinks& links);
// Outside its sizes the first time, or the last piece carried on.
Seconds table_time(const ExchangeTable& table, double bytes);
// wire: seconds at the efficient rate; see LinkCurve.
Seconds ramped(const LinkCurve& curve, Seconds wire);

// Reads and checks a calibration file: rates positive, shares within (0, 1], power within (0, 1).
CalibrationFile read_calibration(const JsonView& root);
// The stated rules for another GPU (carry_over.cpp).
void carry_over(Calibration::Data& data, const Gpu& to, const JsonView& root);

}  // namespace tw
