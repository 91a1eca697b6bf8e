// Products of experts by libraries: experts, rows of each (mean), features out and in, and the largest
// expert's rows over the mean in per cent. cublas_grouped_gemm: one call of cuBLAS for all; looped_gemm: a
// cuBLASLt call each. Baselines of a grouped kernel: no curve is fitted to them.
#include <algorithm>
#include <memory>

#include "calibrate/probes/gpu/expert_sizes.hpp"
#include "calibrate/probes/gpu/probe.hpp"

namespace tw::gpu {
namespace {

struct Kind {
  const char* op;
  Product product;
  GroupedForm form;
};
constexpr Kind kKinds[] = {{"cublas_grouped_gemm", Product::forward, GroupedForm::one_call},
                           {"cublas_grouped_gemm_dgrad", Product::dgrad, GroupedForm::one_call},
                           {"cublas_grouped_gemm_wgrad", Product::wgrad, GroupedForm::one_call},
                           {"looped_gemm", Product::forward, GroupedForm::loop},
                           {"looped_gemm_dgrad", Product::dgrad, GroupedForm::loop},
                           {"looped_gemm_wgrad", Product::wgrad, GroupedForm::loop}};

std::vector<Case> cases(const Launch&) {
  std::vector<Case> all;
  for (const Kind& kind : kKinds) {
    for (const ExpertSize& size : kExpertSizes)
      all.push_back({kind.op, {size.experts, size.rows, size.n, size.k}, size.use});
  }
  for (const std::int64_t percent : {150, 200, 400}) {
    all.push_back({"cublas_grouped_gemm", {16, 512, 3072, 2048, percent}, "note"});
    all.push_back({"looped_gemm", {16, 512, 3072, 2048, percent}, "note"});
  }
  return all;
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const auto kind =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) { return k.op == one.op; });
  const std::int64_t experts = one.shape.at(0), rows = one.shape.at(1), n = one.shape.at(2),
                     k = one.shape.at(3);
  const std::int64_t percent = one.shape.size() > 4 ? one.shape[4] : 100;
  const std::int64_t tokens = experts * rows, in = tokens * k, weights = experts * n * k, out = tokens * n;
  const std::int64_t bytes = 2 * (in + weights + out);
  const bool forward = kind->product == Product::forward, wgrad = kind->product == Product::wgrad;
  const Rotating left(bench, forward ? in : out, 1, bytes), right(bench, wgrad ? in : weights, 0.02f, bytes);
  const Rotating result(bench, forward ? out : wgrad ? weights : in, 0, bytes);
  std::vector<std::unique_ptr<GroupedGemm>> turns;  // device pointers of each set, made beforehand
  for (std::int64_t i = 0; i < left.count(); ++i) {
    turns.push_back(std::make_unique<GroupedGemm>(
        bench.blas, GroupedCall{kind->product, rows_of_experts(experts, rows, percent), n, k, kind->form}));
    turns.back()->set({left.at(i), right.at(i), result.at(i)});
  }
  return {burst(bench, one, {},
                [&](std::int64_t turn) { turns[static_cast<std::size_t>(turn) % turns.size()]->run(); })};
}

}  // namespace

const Probe kGroupedGemm = {"expert_libraries",
                            {"cublas_grouped_gemm", "cublas_grouped_gemm_dgrad", "cublas_grouped_gemm_wgrad",
                             "looped_gemm", "looped_gemm_dgrad", "looped_gemm_wgrad"},
                            false,
                            cases,
                            measure};

}  // namespace tw::gpu
