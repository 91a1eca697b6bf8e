// Rows of measurements as files hold them: what the curves are fitted to.
#pragma once

#include <string>
#include <vector>

#include "costmodel/curves.hpp"

namespace tw {

constexpr auto enum_names(const Collective*) {
  return std::array<std::pair<Collective, std::string_view>, 5>{
      {{Collective::all_reduce, "all_reduce"},
       {Collective::all_gather, "all_gather"},
       {Collective::reduce_scatter, "reduce_scatter"},
       {Collective::all_to_all, "all_to_all"},
       {Collective::send, "send"}}};
}

// op and shape: gemm m n k; grouped_gemm groups rows n k; copy (bytes read and written);
// flash2_forward, flash2_backward, cudnn_forward, cudnn_backward: batch heads length head_dim, causal.
struct KernelRow {
  std::string op;
  std::vector<std::int64_t> shape;
  Seconds time;
};
TW_DESCRIBE(KernelRow, op, shape, time);

// bytes as calibration.hpp defines them. algorithm: the curve it belongs to. link_scale: of the
// architecture, so that rows of several GPUs share one curve. use: "fit", or "check" (not fitted).
struct CollectiveRow {
  std::string use, algorithm, gpu;
  Collective collective = Collective::all_reduce;
  std::int32_t ranks = 0, nodes = 1;
  BytesPerSec intra;
  Defaulted<BytesPerSec> inter;
  Defaulted<double> link_scale{1.0};
  Defaulted<BytesPerSec> copy_rate;  // of its memory; left out: the calibration's
  Bytes bytes;
  Seconds time;
  Defaulted<std::string> source;
};
TW_DESCRIBE(CollectiveRow, use, algorithm, gpu, collective, ranks, nodes, intra, inter, link_scale, copy_rate,
            bytes, time, source);

struct MeasuredFile {
  std::string title, date, driver, command, source;
  Defaulted<std::vector<KernelRow>> kernels;
  Defaulted<std::vector<CollectiveRow>> collectives;
};
TW_DESCRIBE(MeasuredFile, title, date, driver, command, source, kernels, collectives);

}  // namespace tw
