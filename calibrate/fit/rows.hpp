// Rows of measurements as files hold them: what the curves are fitted to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "costmodel/curves.hpp"

namespace tw {

// The curve that a row belongs to where nothing names its algorithm: rings, and direct messages.
constexpr std::string_view usual_algorithm(Collective kind) {
  if (kind == Collective::send) return "direct";
  return kind == Collective::all_to_all ? "pairwise" : "ring";
}

// op and shape: gemm m n k; grouped_gemm groups rows n k; copy (bytes read and written);
// flash2_forward, flash2_backward, cudnn_forward, cudnn_backward: batch heads [kv_heads] length head_dim,
// causal. gemm_dgrad, gemm_wgrad, gemm_wgrad_fp32 and the same of grouped_gemm: the forward's shape. From a
// trainer's run also NAME and NAME.backward of an operator, optimizer (all of a step): the bytes that it is
// priced by.
struct KernelRow {
  std::string op;
  std::vector<std::int64_t> shape;
  Seconds time;
  Defaulted<double> spread{0};  // of repeats, relative standard deviation
  Defaulted<std::int32_t> samples{0};
  Defaulted<std::string> use{"fit"};  // or "held_out": judges the fit
};
TW_DESCRIBE(KernelRow, op, shape, time, spread, samples, use);

// bytes as calibration.hpp defines them. algorithm: the curve it belongs to. link_scale: of the
// architecture, so that rows of several GPUs share one curve. use: "fit", "held_out" (judges the fit), or
// "check" (neither).
struct CollectiveRow {
  std::string use, algorithm, gpu;
  Collective collective = Collective::all_reduce;
  std::int32_t ranks = 0, nodes = 1;
  BytesPerSec intra;
  Defaulted<BytesPerSec> inter;
  Defaulted<Seconds> inter_latency{Seconds(1.3e-6)};  // of one message between nodes; left out: InfiniBand's
  Defaulted<double> link_scale{1.0};
  Defaulted<BytesPerSec> copy_rate;  // of its memory; left out: the calibration's
  Bytes bytes;
  Seconds time;
  Defaulted<std::string> source;
  Defaulted<double> spread{0};
  Defaulted<std::int32_t> samples{0};
};
TW_DESCRIBE(CollectiveRow, use, algorithm, gpu, collective, ranks, nodes, intra, inter, inter_latency, link_scale, copy_rate,
            bytes, time, source, spread, samples);

// How far loads of ranks of ep lay from their mean, over that mean: the mean of |deviation| of a launch.
struct RoutingRow {
  std::int32_t experts = 0, top_k = 0, ranks = 0;
  double deviation = 0;
};
TW_DESCRIBE(RoutingRow, experts, top_k, ranks, deviation);

struct MeasuredFile {
  std::string title, date, driver, command, source;
  Defaulted<std::vector<KernelRow>> kernels;
  Defaulted<std::vector<CollectiveRow>> collectives;
  Defaulted<std::vector<RoutingRow>> routing;
  Defaulted<std::vector<std::string>> done;  // parts of a calibration that is being measured
};
TW_DESCRIBE(MeasuredFile, title, date, driver, command, source, kernels, collectives, routing, done);

}  // namespace tw
