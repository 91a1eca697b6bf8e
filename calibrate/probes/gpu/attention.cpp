// Causal attention of one layer through cuDNN: batch, heads, heads of keys and values, length, head size;
// forward and backward. Feeds the cudnn attention curves.
#include "kernels/backend/gpu/attention.hpp"

#include "calibrate/probes/gpu/probe.hpp"

namespace tw::gpu {
namespace {

struct Size {
  std::int64_t batch, heads, kv_heads, length, head_dim;
  const char* use;
};
constexpr Size kSizes[] = {
    {1, 32, 8, 1024, 128, "fit"},    {1, 32, 8, 2048, 128, "fit"},    {1, 32, 8, 4096, 128, "fit"},
    {1, 32, 8, 8192, 128, "fit"},    {1, 32, 8, 16384, 128, "fit"},   {1, 8, 8, 32768, 128, "fit"},
    {4, 32, 32, 2048, 128, "fit"},   {2, 16, 16, 4096, 128, "fit"},   {1, 64, 8, 4096, 128, "fit"},
    {1, 8, 1, 8192, 128, "fit"},     {1, 4, 1, 4096, 128, "fit"},     {8, 16, 4, 1024, 128, "fit"},
    {1, 32, 8, 2048, 64, "fit"},     {1, 32, 8, 8192, 64, "fit"},     {4, 32, 32, 2048, 64, "fit"},
    {8, 16, 16, 1024, 64, "fit"},    {1, 64, 8, 4096, 64, "fit"},     {1, 8, 1, 16384, 64, "fit"},
    {1, 28, 4, 4096, 128, "check"},  {1, 48, 8, 8192, 128, "check"},  {2, 40, 8, 4096, 128, "check"},
    {1, 6, 1, 4096, 128, "check"},   {1, 16, 2, 8192, 128, "check"},  {1, 96, 8, 2048, 128, "check"},
    {2, 24, 24, 2048, 128, "check"}, {1, 10, 2, 16384, 128, "check"}, {1, 64, 8, 8192, 64, "check"},
    {2, 24, 24, 2048, 64, "check"},  {1, 16, 4, 4096, 64, "check"},   {4, 12, 12, 1024, 64, "check"}};

std::vector<Case> cases(const Launch&) {
  std::vector<Case> all;
  for (const char* op : {"cudnn_forward", "cudnn_backward"}) {
    for (const Size& s : kSizes)
      all.push_back({op, {s.batch, s.heads, s.kv_heads, s.length, s.head_dim}, s.use});
  }
  return all;
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  if (!bench.dnn) bench.dnn = std::make_unique<Dnn>(bench.stream);
  AttentionCall call{one.shape.at(0), one.shape.at(1), one.shape.at(2),
                     one.shape.at(3), one.shape.at(4), false};
  const std::int64_t tokens = call.batch * call.length, wide = tokens * call.heads * call.head_dim;
  const std::int64_t narrow = tokens * call.kv_heads * call.head_dim, bytes = 4 * (wide + narrow);
  const auto rows = [&](std::int64_t elements) { return Rotating(bench, elements, 1, bytes); };
  const Rotating q = rows(wide), k = rows(narrow), v = rows(narrow), out = rows(wide), dout = rows(wide);
  const Rotating dq = rows(wide), dk = rows(narrow), dv = rows(narrow), sums = rows(2 * tokens * call.heads);
  const auto at = [&](std::int64_t t) {
    return AttentionPointers{q.at(t),    k.at(t),  v.at(t),  out.at(t), sums.at(t),
                             dout.at(t), dq.at(t), dk.at(t), dv.at(t)};
  };
  const AttentionKernel forward(*bench.dnn, call);
  if (one.op == "cudnn_forward")
    return {burst(bench, one, {.warm = kHot}, [&](std::int64_t turn) { forward.run(at(turn)); })};
  for (std::int64_t t = 0; t < q.count(); ++t)
    forward.run(at(t));  // outputs and sums that belong to the inputs
  call.backward = true;
  const AttentionKernel backward(*bench.dnn, call);
  return {burst(bench, one, {.warm = kHot}, [&](std::int64_t turn) { backward.run(at(turn)); })};
}

}  // namespace

const Probe kAttention = {"attention", {"cudnn_forward", "cudnn_backward"}, false, cases, measure};

}  // namespace tw::gpu
