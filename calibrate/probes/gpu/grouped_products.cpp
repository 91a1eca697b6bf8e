// Products of experts as the trainer runs them, one launch for all: experts, rows of each (mean), features
// out and in, and the largest expert's rows over the mean in per cent. Feeds the curve of grouped products.
// grouped_swiglu, whose features out are gate and up, has no curve of its own: it is read beside the others.
#include <algorithm>

#include "calibrate/probes/gpu/expert_sizes.hpp"
#include "calibrate/probes/gpu/probe.hpp"
#include "kernels/grouped_ops.hpp"

namespace tw::gpu {
namespace {

std::vector<Case> cases(const Launch&) {
  std::vector<Case> all;
  for (const char* op : {"grouped_gemm", "grouped_gemm_dgrad", "grouped_gemm_wgrad_fp32"}) {
    // The curve counts a bf16 result that a weight's gradient does not have.
    const bool noted = op == std::string("grouped_gemm_wgrad_fp32");
    for (const ExpertSize& size : kExpertSizes)
      all.push_back({op, {size.experts, size.rows, size.n, size.k}, noted ? "note" : size.use});
  }
  for (const std::int64_t percent : {150, 200, 400})
    all.push_back({"grouped_gemm", {16, 512, 3072, 2048, percent}, "note"});
  all.push_back({"grouped_swiglu", {8, 1024, 28672, 4096}, "note"});
  all.push_back({"grouped_swiglu", {128, 512, 1536, 2048}, "note"});
  return all;
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const std::int64_t experts = one.shape.at(0), rows = one.shape.at(1), n = one.shape.at(2),
                     k = one.shape.at(3);
  const std::int64_t percent = one.shape.size() > 4 ? one.shape[4] : 100;
  const bool wgrad = one.op == "grouped_gemm_wgrad_fp32", dgrad = one.op == "grouped_gemm_dgrad",
             swiglu = one.op == "grouped_swiglu";
  const std::int64_t total = experts * rows, in = total * k, weights = experts * n * k, out = total * n;
  const std::int64_t bytes = 2 * (in + weights + out) + (wgrad ? 2 * weights : 0) + (swiglu ? out : 0);
  const Rotating left(bench, wgrad || dgrad ? out : in, 1, bytes),
      right(bench, wgrad ? in : weights, 0.02f, bytes),
      result(bench,
             wgrad   ? 2 * weights
             : dgrad ? in
                     : out,
             0, bytes),
      act(bench, swiglu ? out / 2 : 8, 0, bytes);
  const std::vector<std::int64_t> counts = rows_of_experts(experts, rows, percent);
  const Buffer there(8 * experts);
  to_device(counts.data(), there.data(), 8 * experts, bench.stream);
  const GroupedRows groups{static_cast<const std::int64_t*>(there.data()), experts, experts, total};
  return {burst(bench, one, {}, [&](std::int64_t t) {
    const Stream s = bench.stream;
    if (wgrad)
      return grouped_wgrad({n, k}, groups, left.at(t), right.at(t), static_cast<float*>(result.at(t)), s);
    if (dgrad) return grouped_dgrad({n, k}, groups, left.at(t), right.at(t), result.at(t), s);
    if (swiglu)
      return grouped_swiglu({n / 2, k}, groups, left.at(t), right.at(t), {nullptr, result.at(t), act.at(t)},
                            s);
    grouped_forward({n, k}, groups, left.at(t), right.at(t), result.at(t), s);
  })};
}

}  // namespace

const Probe kGroupedProducts = {
    "grouped",
    {"grouped_gemm", "grouped_gemm_dgrad", "grouped_gemm_wgrad_fp32", "grouped_swiglu"},
    false,
    cases,
    measure};

}  // namespace tw::gpu
