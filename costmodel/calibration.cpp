#include "costmodel/calibration.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "costmodel/collectives/algorithm.hpp"
#include "costmodel/curves.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

// How far a query lies outside a curve's rows, and what widens its band besides.
struct Reach {
  double octaves = 0;
  double extra_spread = 0;
  bool derived = false;
};

double octaves_outside(double value, double low, double high) {
  if (value < low) return std::log2(low / std::max(value, 1.0));
  return value > high ? std::log2(value / high) : 0;
}

double in_squares(double a, double b, double c) {
  return std::sqrt(a * a + b * b + c * c);
}

Estimate estimate(Seconds time, CurveId id, const Evidence& evidence, const Reach& reach) {
  Estimate result;
  result.time = time;
  result.spread = in_squares(evidence.spread, reach.extra_spread, evidence.per_octave * reach.octaves);
  result.curve = id;
  result.provenance = reach.derived ? Provenance::derived : evidence.provenance;
  result.extrapolated = reach.octaves > 0;
  return result;
}

Estimate nothing(CurveId id) {
  Estimate result;
  result.curve = id;
  return result;
}

Reach gemm_reach(const Calibration::Data& data, const GemmCurve& curve, const TileWork& work, GemmPass pass) {
  const double other = pass == GemmPass::wgrad ? work.rows : work.depth;
  const double smallest = std::min(work.cols, other);
  const double tokens = pass == GemmPass::wgrad ? work.depth : work.rows;
  Reach reach;
  reach.octaves = octaves_outside(tokens, curve.min_rows, tokens) +
                  octaves_outside(smallest, curve.min_size, smallest) +
                  octaves_outside(gemm_flops(work), 0, curve.max_flops.value);
  // No row has even sizes beside multiples of 8 (16 bytes): taken as one octave outside.
  const bool misaligned = std::fmod(work.cols, 8) != 0 || std::fmod(other, 8) != 0;
  if (misaligned && !work.odd) reach.octaves += 1;
  reach.derived = pass != GemmPass::forward && data.passes.spread > 0;  // 0: they have rows of their own
  reach.extra_spread = reach.derived ? data.passes.spread : 0;
  return reach;
}

struct Kernel {
  const AttentionCurve* curve;
  double speed = 1;
  double extra_spread = 0;
  bool derived = false;
};

Kernel kernel_of(const AttentionCurves& curves, AttentionKernel kernel, bool backward) {
  const auto pick = [&](std::string_view name) {
    const AttentionKernelCurves& both = name == "cudnn" ? curves.cudnn : curves.flash2;
    return backward ? &both.backward : &both.forward;
  };
  if (kernel == AttentionKernel::cudnn) return {pick("cudnn")};
  if (kernel == AttentionKernel::flash2) return {pick("flash2")};
  const ScaledKernel& scaled = kernel == AttentionKernel::flash1 ? curves.flash1 : curves.flash3;
  return {pick(scaled.of), scaled.speed, scaled.spread, true};
}

// Unfused attention as of SC21 (Narayanan et al.): batched GEMMs over whole score matrices, softmax
// and dropout as memory-bound kernels. Forward: scores, output. Backward: dV, dP, dQ, dK.
Estimate unfused(const Calibration& calibration, const AttentionShape& shape) {
  const UnfusedCurve& curve = calibration.data().attention.unfused;
  const auto rows = static_cast<double>(shape.q_len);
  const GroupedGemmShape scores{
      .groups = shape.batch * shape.heads, .rows = rows, .n = shape.kv_len, .k = shape.head_dim};
  const GroupedGemmShape output{
      .groups = scores.groups, .rows = rows, .n = shape.value_dim, .k = shape.kv_len};
  const double cells = static_cast<double>(scores.groups) * rows * static_cast<double>(shape.kv_len);
  const double moved = cells * (shape.backward ? curve.backward_bytes : curve.forward_bytes);
  const Estimate first = calibration.grouped_gemm(scores), second = calibration.grouped_gemm(output);
  const Estimate softmax = calibration.elementwise(Bytes(static_cast<std::int64_t>(moved)));
  Estimate all = first;
  all.time = (first.time + second.time) * (shape.backward ? 2 : 1) + softmax.time;
  all.spread = std::hypot(first.spread, curve.spread);
  all.curve = CurveId::attention;
  all.provenance = Provenance::derived;
  all.extrapolated = first.extrapolated || second.extrapolated;
  return all;
}

CurveId collective_curve(Collective kind, const GroupLinks& links) {
  if (kind == Collective::send) return CurveId::point_to_point;
  return links.nodes > 1 ? CurveId::inter_collective : CurveId::intra_collective;
}

Estimate from_table(const ExchangeTable& table, const GroupLinks& links, double bytes) {
  const Reach reach{octaves_outside(bytes, table.sizes.front().to_double(), table.sizes.back().to_double())};
  return estimate(table_time(table, bytes), collective_curve(table.collective, links), table.evidence, reach);
}

// Between nodes only all-reduce of whole nodes has logs of these GPUs: the rest is derived.
Reach link_reach(const LinkCurves& curves, const LinkCurve& curve, const CollectiveCall& call) {
  const GroupLinks& links = call.links;
  Reach reach;
  reach.octaves = octaves_outside(call.bytes, curve.min_bytes.to_double(), curve.max_bytes.to_double());
  if (links.nodes == 1) return reach;
  reach.octaves += octaves_outside(links.nodes, 1, curves.logged_nodes);
  const bool whole_nodes = links.ranks_per_node >= curves.logged_ranks_per_node;
  reach.derived = !whole_nodes || call.kind != Collective::all_reduce;
  reach.extra_spread = whole_nodes ? 0 : curves.other_shape_spread;
  return reach;
}

}  // namespace

Estimate Calibration::gemm(const GemmShape& shape) const {
  const TileWork work = tile_work(shape);
  const Seconds time = gemm_time(data_->gemm, data_->device.sms, data_->elementwise.rate, work);
  return estimate(time, CurveId::gemm, data_->gemm.evidence,
                  gemm_reach(*data_, data_->gemm, work, shape.pass));
}

// All groups run in one kernel, so its time depends on their total: max_over_mean > 1 only says
// that their rows differ, which costs part-filled tiles.
Estimate Calibration::grouped_gemm(const GroupedGemmShape& shape) const {
  const GemmCurve& curve = data_->grouped_gemm;
  TileWork work = tile_work(shape);
  const double added = data_->accumulates_apart ? std::exchange(work.extra_bytes, 0.0) : 0;
  Seconds time = gemm_time(curve, data_->device.sms, data_->elementwise.rate, work);
  // Memory keeps its rate where the power limit slows the product, by the ratio the pricer multiplies with.
  if (added > 0) time = time + added / data_->elementwise.rate.value * Seconds(1 / data_->sustained->gemm);
  return estimate(time, CurveId::grouped_gemm, curve.evidence, gemm_reach(*data_, curve, work, shape.pass));
}

Estimate Calibration::attention(const AttentionShape& shape) const {
  if (shape.kernel == AttentionKernel::unfused) return unfused(*this, shape);
  const AttentionCurves& curves = data_->attention;
  const Kernel kernel = kernel_of(curves, shape.kernel, shape.backward);
  const Seconds time =
      attention_time(*kernel.curve, {curves.exponential, static_cast<double>(data_->device.sms)},
                     pair_work(shape, curves.head_dim)) /
      kernel.speed;
  const bool other_dim = shape.head_dim != curves.head_dim || shape.value_dim != curves.head_dim;
  Reach reach{.extra_spread = std::hypot(kernel.extra_spread, other_dim ? curves.other_dim_spread : 0),
              .derived = kernel.derived || other_dim};
  reach.octaves =
      octaves_outside(static_cast<double>(shape.kv_len), kernel.curve->min_length, kernel.curve->max_length);
  return estimate(time, CurveId::attention, kernel.curve->evidence, reach);
}

Estimate Calibration::scan(Flops flops, Bytes bytes) const {
  const AttentionCurves& curves = data_->attention;
  const AttentionKernelCurves& like = curves.scan.of == "cudnn" ? curves.cudnn : curves.flash2;
  Estimate out = elementwise(bytes);
  out.time = out.time + flops / (like.forward.rate * curves.scan.speed);
  out.spread = std::hypot(out.spread, curves.scan.spread);
  out.curve = CurveId::attention, out.provenance = Provenance::derived;
  return out;
}

Estimate Calibration::elementwise(Bytes bytes, std::string_view name, bool backward) const {
  const auto& own = *data_->operators;
  const auto found = name.empty() || own.empty() ? own.end() : own.find(std::string(name));
  const MemoryCurve& curve = found == own.end() ? data_->elementwise
                             : backward         ? found->second.backward
                                                : found->second.forward;
  const Reach reach{
      octaves_outside(bytes.to_double(), curve.min_bytes.to_double(), curve.max_bytes.to_double())};
  return estimate(memory_time(curve, bytes.to_double()), CurveId::elementwise, curve.evidence, reach);
}

Estimate Calibration::widening(Bytes bytes) const {
  Estimate e = elementwise(bytes);
  const MemoryCurve& curve = data_->elementwise;
  if (curve.widening->value > 0)
    e.time = std::max(e.time, curve.overhead + Seconds(bytes.to_double() / curve.widening->value));
  return e;
}

Estimate Calibration::collective(Collective kind, const GroupLinks& links, Bytes bytes) const {
  if (links.ranks < 2 || bytes.count == 0) return nothing(collective_curve(kind, links));
  if (const ExchangeTable* table = table_for(data_->links, kind, links))
    return from_table(*table, links, bytes.to_double());
  const CollectiveCall call{kind, links, bytes.to_double(), data_->elementwise.rate};
  const Algorithm* algorithm = fastest(call, data_->links);
  const LinkCurve& curve = algorithm->curve(call, data_->links);
  return estimate(algorithm->time(call, data_->links), collective_curve(kind, links), curve.evidence,
                  link_reach(data_->links, curve, call));
}

Estimate Calibration::all_to_all(const GroupLinks& links, double intra_bytes, double inter_bytes) const {
  if (links.ranks < 2) return nothing(CurveId::intra_collective);
  if (const ExchangeTable* table = table_for(data_->links, Collective::all_to_all, links))
    return from_table(*table, links, (intra_bytes + inter_bytes) * links.ranks / (links.ranks - 1));
  const LinkCurve& curve = links.nodes > 1 ? data_->links.pairwise_inter : data_->links.pairwise_intra;
  return estimate(
      pairwise_time(links, {intra_bytes, inter_bytes}, data_->links),
      collective_curve(Collective::all_to_all, links), curve.evidence,
      link_reach(data_->links, curve, {Collective::all_to_all, links, intra_bytes + inter_bytes, {}}));
}

template <class Load>
static double ratio_of(const Load& load, CurveId curve) {
  if (curve == CurveId::gemm || curve == CurveId::grouped_gemm) return load.gemm;
  if (curve == CurveId::attention) return load.attention;
  return curve == CurveId::elementwise ? load.elementwise : 1;
}

double Calibration::sustained(CurveId curve) const {
  return ratio_of(*data_->sustained, curve);
}

double Calibration::sustained_in_mix(CurveId curve, double gemm_share) const {
  const std::vector<LoadAtShare>& mixes = *data_->sustained->mixes;
  if (mixes.empty()) return 1;
  const auto above = std::find_if(mixes.begin(), mixes.end(),
                                  [&](const LoadAtShare& mix) { return mix.gemm_share > gemm_share; });
  double ratio = 0;
  if (above == mixes.begin() || above == mixes.end()) {
    ratio = ratio_of(above == mixes.end() ? mixes.back() : mixes.front(), curve);
  } else {
    const LoadAtShare &low = *(above - 1), &high = *above;
    const double way = (gemm_share - low.gemm_share) / (high.gemm_share - low.gemm_share);
    ratio = ratio_of(low, curve) + way * (ratio_of(high, curve) - ratio_of(low, curve));
  }
  return ratio / sustained(curve);
}

double Calibration::library(GemmLibrary library) const {
  const EarlyGemm& early = *data_->early_gemm;
  const bool slower = library == GemmLibrary::early && data_->device.architecture == early.architecture;
  return slower ? 1 / early.speed : 1;
}

bool Calibration::knows_recipe(std::string_view recipe) const {
  return data_->low_precision->count(std::string(recipe)) > 0;
}

Estimate Calibration::low_precision(std::string_view recipe, const Estimate& bf16, double peaks,
                                    const Casts& casts) const {
  const LowPrecisionRule& rule = data_->low_precision->at(std::string(recipe));
  const double bytes = casts.elements * (casts.bytes > 0 ? casts.bytes : rule.cast_bytes);
  const double kernels = bytes > 0 ? casts.kernels : 1;
  const Seconds cast = elementwise(Bytes(std::llround(bytes / kernels))).time * kernels;
  Estimate out = bf16;
  const double load = *data_->sustained->low_over_gemm;
  out.time = bf16.time * load / std::max(1.0, peaks * rule.share) + cast;
  out.spread = std::hypot(bf16.spread, rule.spread);
  out.provenance = Provenance::derived;
  return out;
}

Estimate Calibration::host_copy(Bytes bytes) const {
  const HostCosts& host = data_->host;
  const double rate = host.copy_share * data_->device.pcie_one_way.value;
  Estimate result;
  result.time = host.copy_overhead + Seconds(bytes.to_double() / rate);
  result.spread = host.spread;
  result.curve = CurveId::copy;
  result.provenance = Provenance::derived;
  return result;
}

Seconds Calibration::synchronise() const {
  return data_->host.synchronise;
}
double Calibration::compute_slowdown() const {
  return data_->host.compute_slowdown;
}
Calibration::Beside Calibration::beside(double bytes, bool between_nodes) const {
  const std::vector<Interference>& sizes = *data_->host.beside;
  if (sizes.empty() || between_nodes) return {data_->host.network_slowdown, {}};
  const auto above = std::find_if(sizes.begin(), sizes.end(),
                                  [&](const Interference& each) { return each.bytes.to_double() > bytes; });
  if (above == sizes.begin()) return {above->network, above->lost};
  const Interference& low = *(above - 1);
  if (above == sizes.end()) return {low.network, low.lost};
  const double way = std::log(bytes / low.bytes.to_double()) / std::log(above->bytes / low.bytes);
  return {low.network + way * (above->network - low.network), low.lost + way * (above->lost - low.lost)};
}
Seconds Calibration::handover() const {
  return *data_->host.handover;
}
double Calibration::gemm_yields() const {
  return *data_->host.gemm_yields;
}
Bytes Calibration::context() const {
  return data_->host.context;
}
Bytes Calibration::communicator(std::int32_t ranks) const {
  if (ranks < 2) return Bytes(0);
  return data_->host.communicator + data_->host.communicator_per_rank * ranks;
}
Calibration Calibration::without_interference() const {
  auto data = std::make_shared<Data>(*data_);
  data->host.compute_slowdown = data->host.network_slowdown = 1;
  data->host.beside = Defaulted<std::vector<Interference>>{};
  data->host.gemm_yields = Defaulted<double>{1.0};
  Calibration out;
  out.data_ = std::move(data);
  return out;
}
Calibration Calibration::without_nvls() const {
  auto copy = std::make_shared<Data>(*data_);
  copy->links.nvls = false;
  Calibration other;
  other.data_ = std::move(copy);
  return other;
}
double Calibration::carried_spread() const {
  return data_->carried_spread;
}
Calibration Calibration::in_bursts() const {
  auto copy = std::make_shared<Data>(*data_);
  copy->sustained = SustainedLoad{};
  Calibration other;
  other.data_ = std::move(copy);
  return other;
}
double Calibration::likeness() const {
  return *data_->likeness;
}

const std::string& Calibration::machine() const {
  return *data_->machine;
}

const std::string& Calibration::name() const {
  return data_->name;
}
Provenance Calibration::provenance() const {
  return data_->gemm.evidence.provenance;
}

}  // namespace tw
