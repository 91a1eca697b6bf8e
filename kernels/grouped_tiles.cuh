// What the kernel of kernels/grouped.cuh works on: tiles of a product, and the boxes of its operands that are
// copied for one. Rows of a group are a tensor of their own to the copy engine: coordinates count from its
// end, so that rows behind it read as zero and are not written. That takes dimensions of row stride s and
// 2^64 / 2^30 - s beside the rows', as addresses wrap around (Triton's ragged_tma.py has the same).
#pragma once

#include <cuda_bf16.h>

#include "kernels/hopper.cuh"

namespace tw::gpu::grouped {

using hopper::At3;
using hopper::At4;
using hopper::Shared;

enum class Kind { forward, swiglu, dgrad, wgrad };

constexpr int kRows = 128, kCols = 256, kDepth = 64;  // of a tile
constexpr int kStages = 4, kBoxes = 2, kMostGroups = 256, kThreads = 384;
constexpr int kBand = 16;       // tiles of rows that are done side by side before the next columns
constexpr int kBox = 64 * 128;  // bytes of 64 rows that are 128 bytes wide
constexpr int kLeft = 2 * kBox, kRight = 4 * kBox, kStage = kLeft + kRight;
constexpr int kStaging = kBoxes * kBox;  // of a warpgroup, for its results
constexpr int kSumCols = 64;             // of the fp32 sums that come through one stage of the ring
constexpr std::int32_t kBillion = 1 << 30;

struct Maps {
  CUtensorMap left, right, out, act, sums;  // sums: as out, of a whole tile's rows
};

struct Work {
  const std::int64_t* rows;
  std::int32_t first, groups, weights;  // groups first .. first + groups of `rows`
  std::int32_t m, n, depth;             // of a group's product; the one that is the group's rows is unused
  std::int32_t split;                   // columns between gate and up
  std::int32_t over;                    // groups that write over a weight's gradient, the first ones
  const float* factor;                  // of rows
};

struct Table {
  std::int32_t row[kMostGroups + 1], tile[kMostGroups + 1];  // the first of each group
};
struct Memory {
  unsigned char stages[kStages * kStage], staging[2 * kStaging];
  std::uint64_t full[kStages], empty[kStages];
  Table table;
};

struct At2 {
  std::int32_t column, row;
};

struct Tile {
  std::int32_t group, weight;
  std::int32_t row, rows;  // first of the group's, and how many
  std::int32_t m, n;       // first of the tile's, in the group's product
  bool over;               // what was there is not read
};

__host__ __device__ constexpr int parts(std::int32_t size, std::int32_t part) {
  return (size + part - 1) / part;
}

template <Kind kKind>
struct Product {
  static constexpr bool kWeightGradient = kKind == Kind::wgrad;
  static constexpr int kLeftTurned = kWeightGradient;  // depth is not what lies side by side in memory
  static constexpr int kRightTurned = kWeightGradient || kKind == Kind::dgrad;
  static constexpr int kTileCols = kKind == Kind::swiglu ? kCols / 2 : kCols;  // gate and up together

  static __device__ std::int32_t columns(const Work& work) { return parts(work.n, kTileCols); }
  static __device__ std::int32_t lines(const Work& work, std::int32_t rows) {  // tiles of rows
    return parts(kWeightGradient ? work.m : rows, kRows);
  }

  // By all threads; the block's barrier comes after.
  static __device__ void make_table(const Work& work, Table& table) {
    for (int i = threadIdx.x; i < work.groups; i += kThreads)
      table.row[i + 1] = static_cast<std::int32_t>(work.rows[work.first + i]);
    __syncthreads();
    if (threadIdx.x >= 32) return;
    const int lane = threadIdx.x;
    std::int32_t row = 0, tile = 0;
    for (int i = lane; i < work.first; i += 32) row += static_cast<std::int32_t>(work.rows[i]);
    row = __reduce_add_sync(0xffffffffU, row);
    if (lane == 0) table.row[0] = row, table.tile[0] = 0;
    for (int base = 0; base < work.groups; base += 32) {
      const bool real = base + lane < work.groups;
      std::int32_t rows = real ? table.row[base + lane + 1] : 0;
      const bool written = rows > 0 || (real && work.first + base + lane < work.over);
      std::int32_t tiles = written ? lines(work, rows) * columns(work) : 0;
      for (int offset = 1; offset < 32; offset *= 2) {
        const std::int32_t r = __shfl_up_sync(0xffffffffU, rows, offset),
                           t = __shfl_up_sync(0xffffffffU, tiles, offset);
        if (lane >= offset) rows += r, tiles += t;
      }
      if (real) table.row[base + lane + 1] = row + rows, table.tile[base + lane + 1] = tile + tiles;
      row += __shfl_sync(0xffffffffU, rows, 31), tile += __shfl_sync(0xffffffffU, tiles, 31);
    }
  }

  // By a whole warp: the last group whose first tile is not behind this one has it.
  static __device__ Tile tile_at(const Work& work, const Table& table, std::int32_t index) {
    constexpr int kPart = kMostGroups / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const auto begins = [&](int group) { return group < work.groups && table.tile[group] <= index; };
    const int part = __popc(__ballot_sync(0xffffffffU, begins(lane * kPart))) - 1;
    const int group =
        part * kPart + __popc(__ballot_sync(0xffffffffU, lane < kPart && begins(part * kPart + lane))) - 1;
    Tile tile;
    tile.group = group, tile.weight = (work.first + group) % work.weights;
    tile.over = kWeightGradient && work.first + group < work.over;
    tile.row = table.row[group], tile.rows = table.row[group + 1] - tile.row;
    const std::int32_t all = lines(work, tile.rows), across = columns(work);
    const std::int32_t local = index - table.tile[group], band = local / (kBand * across);
    const std::int32_t left = all - band * kBand, high = left < kBand ? left : kBand;
    const std::int32_t inside = local - band * kBand * across;
    tile.n = inside / high * kTileCols;
    tile.m = (band * kBand + inside % high) * kRows;
    return tile;
  }

  static __device__ std::int32_t steps(const Work& work, const Tile& tile) {
    return parts(kWeightGradient ? tile.rows : work.depth, kDepth);
  }
  static __device__ At4 of_group(const Tile& tile, std::int32_t column, std::int32_t row) {
    return {column, kBillion - tile.rows + row, tile.row + tile.rows, kBillion};
  }

  static __device__ void load_left(const Maps& maps, const Tile& tile, std::int32_t depth, Shared to,
                                   Shared bar) {
    if constexpr (kWeightGradient) {
      for (int i = 0; i < 2; ++i)
        hopper::load(&maps.left, to + i * kBox, bar, of_group(tile, tile.m + 64 * i, depth));
    } else {
      hopper::load(&maps.left, to, bar, of_group(tile, depth, tile.m));
    }
  }
  // A weight's gradient is added to what is there: that comes through the ring too, behind the operands.
  static __device__ std::int32_t sum_steps(const Work& work, const Tile& tile) {
    const std::int32_t left = work.n - tile.n;
    return kWeightGradient && !tile.over ? parts(left < kCols ? left : kCols, kSumCols) : 0;
  }
  static __device__ void load_sums(const Maps& maps, const Tile& tile, std::int32_t step, Shared to,
                                   Shared bar) {
    for (int i = 0; i < 2; ++i)
      hopper::load(&maps.sums, to + 2 * i * kBox, bar,
                   At3{tile.n + step * kSumCols + 32 * i, tile.m, tile.weight});
  }
  static __device__ void load_right(const Maps& maps, const Work& work, const Tile& tile, std::int32_t depth,
                                    Shared to, Shared bar) {
    if constexpr (!kRightTurned) {
      const std::int32_t second = kKind == Kind::swiglu ? work.split : 128;
      for (int half = 0; half < 2; ++half)
        hopper::load(&maps.right, to + half * 2 * kBox, bar, At3{depth, tile.n + half * second, tile.weight});
    } else {
      for (int i = 0; i < 4; ++i) {
        const std::int32_t column = tile.n + 64 * i;
        if constexpr (kWeightGradient)
          hopper::load(&maps.right, to + i * kBox, bar, of_group(tile, column, depth));
        else
          hopper::load(&maps.right, to + i * kBox, bar, At3{column, depth, tile.weight});
      }
    }
  }
};

}  // namespace tw::gpu::grouped
