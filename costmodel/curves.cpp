#include "costmodel/curves.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "topology/check.hpp"

namespace tw {
namespace {

// Shapes of cuBLAS kernels on tensor cores since Ampere; the largest first: `rate` is its rate.
constexpr TileShape kTiles[] = {{128, 256}, {256, 128}, {128, 128}, {64, 256},
                                {256, 64},  {64, 128},  {128, 64},  {64, 64}};

std::span<const TileShape> tiles_of(const GemmCurve& curve) {
  return curve.tiles->empty() ? std::span<const TileShape>(kTiles) : *curve.tiles;
}

double tile_intensity(const TileShape& tile) {
  return static_cast<double>(tile.rows) * tile.cols / (tile.rows + tile.cols);
}

double relative_speed(const GemmCurve& curve, const TileShape& tile) {
  return std::min(1.0, tile_intensity(tile) / curve.intensity);
}

double tile_rows(const TileWork& work, double height) {
  const double even = std::ceil(work.rows / height);
  // derived: where the groups' rows differ, their remainder is uniform over a tile, so a group
  // needs rows/height + 1/2 tiles on average; never fewer than even groups.
  return work.skewed ? std::max(even, work.rows / height + 0.5) : even;
}

double compute_seconds(const GemmCurve& curve, double sms, const TileWork& work) {
  const double rate = work.odd ? curve.odd_rate.value : curve.rate.value;
  double best = std::numeric_limits<double>::infinity();
  for (const TileShape& tile : tiles_of(curve)) {
    const double filled = tile_rows(work, tile.rows) * std::ceil(work.cols / tile.cols) * work.groups / sms;
    const double waves = std::max(1.0, filled + curve.tail * (std::ceil(filled) - filled));
    const double flops = 2.0 * tile.rows * tile.cols * (work.depth + curve.fill);
    best = std::min(best, waves * flops * sms / (rate * relative_speed(curve, tile)));
  }
  return best;
}

double operand_bytes(const TileWork& work) {
  const double elements = work.rows * work.depth + work.depth * work.cols + work.rows * work.cols;
  return static_cast<double>(size_of(DType::bf16)) * elements * work.groups + work.extra_bytes;
}

// Both passes of a Linear's backward as GEMMs of their own shape: dgrad [m,n]x[n,k], wgrad
// [k,m]x[m,n] with 4 bytes read and 4 written per weight where it adds into an fp32 buffer.
TileWork tiles_for(double m, double n, double k, GemmPass pass, bool accumulates) {
  TileWork work{.rows = m, .cols = n, .depth = k};
  if (pass == GemmPass::dgrad) work = {.rows = m, .cols = k, .depth = n};
  if (pass == GemmPass::wgrad) work = {.rows = k, .cols = n, .depth = m};
  work.odd = std::fmod(n, 2) != 0 || std::fmod(k, 2) != 0;
  if (pass == GemmPass::wgrad && accumulates)
    work.extra_bytes = 2.0 * static_cast<double>(size_of(DType::fp32)) * n * k;
  return work;
}

}  // namespace

TileWork tile_work(const GemmShape& shape) {
  return tiles_for(static_cast<double>(shape.m), static_cast<double>(shape.n), static_cast<double>(shape.k),
                   shape.pass, shape.accumulate_fp32);
}

TileWork tile_work(const GroupedGemmShape& shape) {
  TileWork work = tiles_for(shape.rows, static_cast<double>(shape.n), static_cast<double>(shape.k),
                            shape.pass, shape.accumulate_fp32);
  work.groups = static_cast<double>(shape.groups);
  work.extra_bytes *= work.groups;
  work.skewed = shape.max_over_mean > 1 && shape.pass != GemmPass::wgrad;
  return work;
}

double gemm_flops(const TileWork& work) {
  return 2 * work.rows * work.cols * work.depth * work.groups;
}

Seconds gemm_time(const GemmCurve& curve, std::int32_t sms, BytesPerSec copy_rate, const TileWork& work) {
  const double compute = compute_seconds(curve, sms, work);
  const double after = *curve.exposed * work.extra_bytes;  // of an fp32 accumulation, not under the tiles
  const double streamed = (operand_bytes(work) - after) / (curve.memory_share * copy_rate.value);
  const double memory = streamed + std::sqrt(curve.memory_ramp.value * streamed);
  const double larger = std::max(compute, memory), smaller = std::min(compute, memory);
  const double both = larger * std::pow(1 + std::pow(smaller / larger, curve.overlap), 1 / curve.overlap);
  return curve.overhead + Seconds(both + after / copy_rate.value);
}

// Forward: scores (2*head_dim) and output (2*value_dim). Backward: scores again, dP and dV (value),
// dQ and dK (head): five GEMMs, FlashAttention-2 (arXiv 2307.08691), section 3.1.
PairWork pair_work(const AttentionShape& shape, std::int32_t reference_dim) {
  const auto d = static_cast<double>(shape.head_dim), v = static_cast<double>(shape.value_dim);
  const auto sequences = static_cast<double>(shape.batch * shape.heads);
  PairWork work;
  work.rows = sequences * static_cast<double>(shape.q_len);
  work.length = static_cast<double>(shape.kv_len);
  work.pairs = sequences * shape.pairs;
  work.matmul_flops = shape.backward ? 2 * (3 * d + 2 * v) : 2 * (d + v);
  work.reference_flops = (shape.backward ? 10 : 4) * static_cast<double>(reference_dim);
  return work;
}

// seconds per pair = matmul_flops/rate' + 1/exponential, with rate' such that the fitted head size
// runs at `rate`: the exponential costs the same at every head size and is not hidden. That it
// weighs as much as half the matmul cycles at head size 128: FlashAttention-3 (arXiv 2407.08608),
// section 3.1. Where it would take more than half of the fitted time, half is taken.
Seconds attention_time(const AttentionCurve& curve, const AttentionUnits& units, const PairWork& work) {
  const double reference = work.reference_flops / curve.rate.value;
  const double exponent = std::min(*curve.exponentials / units.exponential.value, reference / 2);
  const double pair = (reference - exponent) * work.matmul_flops / work.reference_flops + exponent;
  const double last = units.sms * *curve.tail_rows * (work.length + curve.padding);
  return curve.overhead + Seconds((work.pairs + curve.padding * work.rows + last) * pair);
}

Seconds memory_time(const MemoryCurve& curve, double bytes) {
  return curve.overhead + Seconds(bytes / curve.rate.value);
}

const ExchangeTable* table_for(const LinkCurves& curves, Collective kind, const GroupLinks& links) {
  constexpr double kDataSheetRounding = 0.01;
  const bool send = kind == Collective::send, network = links.nodes > 1;
  const BytesPerSec rate = network ? links.inter : links.intra;
  for (const ExchangeTable& table : *curves.tables) {
    const bool same =
        send ? (*table.nodes > 1) == network : table.ranks == links.ranks && *table.nodes == links.nodes;
    if (table.collective != kind || !same) continue;
    if (std::abs(table.link / rate - 1) <= kDataSheetRounding) return &table;
  }
  return nullptr;
}

Seconds table_time(const ExchangeTable& table, double bytes) {
  const auto above = std::upper_bound(table.sizes.begin(), table.sizes.end(), bytes,
                                      [](double value, Bytes size) { return value < size.to_double(); });
  if (above == table.sizes.begin()) return table.times.front();
  const auto next = std::min<std::ptrdiff_t>(above - table.sizes.begin(), std::ssize(table.sizes) - 1);
  const auto to = static_cast<std::size_t>(next), from = to - 1;
  const double low = table.sizes[from].to_double(), high = table.sizes[to].to_double();
  return table.times[from] + (table.times[to] - table.times[from]) * ((bytes - low) / (high - low));
}

Seconds ramped(const LinkCurve& curve, Seconds wire) {
  if (wire.value <= 0) return Seconds(0);
  return wire * (1 + std::pow(curve.ramp.value / wire.value, curve.power));
}

}  // namespace tw
