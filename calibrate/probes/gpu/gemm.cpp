// GEMMs of linear layers: tokens, features out and in; forward, dgrad, wgrad into bf16 and added to fp32,
// and in e4m3. Axes: shapes of a grid (fit), of shipped models cut by tp 1 to 8 (check), and odd ones.
// Feeds the gemm curve.
#include <algorithm>

#include "calibrate/probes/gpu/probe.hpp"
#include "calibrate/probes/gpu/shapes.hpp"

namespace tw::gpu {
namespace {

struct Kind {
  const char* op;
  Product product;
  Into into;
  Operands operands;
};
constexpr Kind kKinds[] = {{"gemm", Product::forward, Into::bf16, Operands::bf16},
                           {"gemm_dgrad", Product::dgrad, Into::bf16, Operands::bf16},
                           {"gemm_wgrad", Product::wgrad, Into::bf16, Operands::bf16},
                           {"gemm_wgrad_fp32", Product::wgrad, Into::fp32_sum, Operands::bf16},
                           {"gemm_e4m3", Product::forward, Into::bf16, Operands::e4m3}};

// Spread of a layer's inputs after a norm, of its weights, and of gradients.
constexpr float kActivation = 1, kWeight = 0.02f, kGradient = 0.01f;

std::vector<Case> cases(const Launch&) {
  std::vector<Case> all;
  const auto add = [&](const Kind& kind, const GemmSize& size, const char* use) {
    all.push_back({kind.op, {size.m, size.n, size.k}, use});
  };
  for (const Kind& kind : kKinds) {
    for (const GemmSize& size : model_gemms()) add(kind, size, "check");
    for (const GemmSize& size : grid_gemms()) {
      const bool few = size.m == 512 || size.m == 2048 || size.m == 8192;
      if (few || kind.op == std::string("gemm")) add(kind, size, "fit");
    }
  }
  for (const GemmSize& size : odd_gemms()) add(kKinds[0], size, "fit");
  return all;
}

Run prepared(Bench& bench, const Kind& kind, const GemmSize& size) {
  const bool forward = kind.product == Product::forward, wgrad = kind.product == Product::wgrad;
  const bool cast = kind.operands == Operands::e4m3, fp32 = kind.into == Into::fp32_sum;
  const std::int64_t left = size.m * (forward ? size.k : size.n),
                     right = wgrad ? size.m * size.k : size.n * size.k;
  const std::int64_t out = forward ? size.m * size.n : wgrad ? size.n * size.k : size.m * size.k;
  const std::int64_t width = cast ? 1 : 2, bytes = width * (left + right) + out * (fp32 ? 4 : 2);
  struct Operand {
    Rotating buffers;
    Operand(Bench& bench, std::int64_t elements, float scale, std::int64_t bytes, bool cast)
        : buffers(bench, cast ? elements / 2 : elements, scale, bytes) {
      if (!cast) return;
      const Rotating wide(bench, elements, 1, 1L << 40);
      buffers.each([&](void* to) { cast_fp8(wide.at(0), to, elements, 1, bench.stream); });
      bench.stream.wait();
    }
  };
  auto lefts = std::make_shared<Operand>(bench, left, forward ? kActivation : kGradient, bytes, cast);
  auto rights = std::make_shared<Operand>(bench, right, wgrad ? kActivation : kWeight, bytes, cast);
  auto outs = std::make_shared<Rotating>(bench, out * (fp32 ? 2 : 1), 0.0f, bytes);
  auto gemm = std::make_shared<Gemm>(
      bench.blas, GemmCall{kind.product, size.m, size.n, size.k, kind.into, kind.operands});
  return [=](std::int64_t turn) {
    gemm->run({lefts->buffers.at(turn), rights->buffers.at(turn), outs->at(turn)});
  };
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const auto kind =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) { return k.op == one.op; });
  return {burst(bench, one, {.warm = kHot},
                prepared(bench, *kind, {one.shape.at(0), one.shape.at(1), one.shape.at(2)}))};
}

}  // namespace

const Probe kGemm = {
    "gemm", {"gemm", "gemm_dgrad", "gemm_wgrad", "gemm_wgrad_fp32", "gemm_e4m3"}, false, cases, measure};

}  // namespace tw::gpu
