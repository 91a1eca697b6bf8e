// The kernel behind kernels/grouped_ops.hpp: blocks that stay on their multiprocessor and walk over tiles of
// 128 x 256, one warp that copies operands through a ring in shared memory (TMA), and two warpgroups that
// multiply them (wgmma, 64 x 256 each). The warpgroups drift apart by up to the ring's stages, so that one
// multiplies while the other writes its results.
#pragma once

#include "kernels/grouped_tiles.cuh"

namespace tw::gpu::grouped {

// A place in the ring of stages.
struct Turn {
  std::uint32_t stage = 0, parity = 0;
  __device__ void next() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

struct Places {
  Shared stages, staging, full, empty;
  __device__ Shared left(std::uint32_t stage) const { return stages + stage * kStage; }
  __device__ Shared right(std::uint32_t stage) const { return left(stage) + kLeft; }
};

// By one warp.
template <Kind kKind>
__device__ void copy_operands(const Maps& maps, const Work& work, const Table& table, const Places& at) {
  using P = Product<kKind>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int32_t tiles = table.tile[work.groups];
  Turn turn;
  for (std::int32_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const Tile tile = P::tile_at(work, table, t);
    const std::int32_t steps = P::steps(work, tile);
    if (lane != 0) continue;
    for (std::int32_t step = 0; step < steps; ++step, turn.next()) {
      hopper::barrier_wait(at.empty + 8 * turn.stage, turn.parity ^ 1);
      const Shared full = at.full + 8 * turn.stage;
      hopper::barrier_expect(full, kStage);
      P::load_left(maps, tile, step * kDepth, at.left(turn.stage), full);
      P::load_right(maps, work, tile, step * kDepth, at.right(turn.stage), full);
    }
    for (std::int32_t step = 0; step < P::sum_steps(work, tile); ++step, turn.next()) {
      hopper::barrier_wait(at.empty + 8 * turn.stage, turn.parity ^ 1);
      hopper::barrier_expect(at.full + 8 * turn.stage, 4 * kBox);
      P::load_sums(maps, tile, step, at.left(turn.stage), at.full + 8 * turn.stage);
    }
  }
}

__device__ inline void give_back(const Places& at, std::uint32_t stage) {  // by each warp that multiplies
  __syncwarp();
  if (threadIdx.x % 32 == 0) hopper::barrier_arrive(at.empty + 8 * stage);
}

// d = the product of this warpgroup's 64 rows with kN columns.
// `meanwhile` is done while the last of it runs.
template <class P, int kN, class Meanwhile>
__device__ inline void multiply(float (&d)[128], const Places& at, Turn& turn, std::int32_t steps, int group,
                                Meanwhile meanwhile) {
  // From one step of 16 in depth to the next, in units of 16 bytes.
  constexpr std::uint64_t kLeftStep = P::kLeftTurned ? 128 : 2, kRightStep = P::kRightTurned ? 128 : 2;
  std::uint32_t last = 0;
  for (std::int32_t step = 0; step < steps; ++step, turn.next()) {
    hopper::barrier_wait(at.full + 8 * turn.stage, turn.parity);
    const std::uint64_t a = hopper::matrix(at.left(turn.stage) + group * kBox, kBox),
                        b = hopper::matrix(at.right(turn.stage), kBox);
    hopper::products_begin();
#pragma unroll
    for (int i = 0; i < kDepth / 16; ++i) {
      if constexpr (kN == 256)
        hopper::multiply_256<P::kLeftTurned, P::kRightTurned>(d, a + i * kLeftStep, b + i * kRightStep,
                                                              step + i > 0);
      else
        hopper::multiply_128<P::kLeftTurned, P::kRightTurned>(d, a + i * kLeftStep, b + i * kRightStep,
                                                              step + i > 0);
    }
    hopper::products_issued();
    if (step > 0) {
      hopper::products_done<1>();
      give_back(at, last);
    }
    last = turn.stage;
  }
  meanwhile();
  hopper::products_done<0>();
  if (steps > 0) give_back(at, last);
}

__device__ inline std::uint32_t pair(float a, float b) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(a, b);
  return reinterpret_cast<const std::uint32_t&>(both);
}

// The results of a warpgroup on their way out: boxes of 64 rows x 128 bytes.
struct Staging {
  Shared at;
  int name;     // of the warpgroup's barrier
  bool issues;  // this thread

  __device__ Shared box(int i) const { return at + i % kBoxes * kBox; }
  __device__ void open() const {
    if (issues) hopper::stores_read<0>();
    hopper::named_barrier(name, 128);
  }
  __device__ void close() const {
    hopper::written_for_copies();
    hopper::named_barrier(name, 128);
  }
};

// stage(i) writes box i to shared memory, send(i) has it copied from there; as many at once as there is room.
template <int kCount, class Stage, class Send>
__device__ inline void send_boxes(const Staging& staging, int count, Stage stage, Send send) {
#pragma unroll
  for (int first = 0; first < kCount; first += kBoxes) {
    if (first >= count) return;
    staging.open();
#pragma unroll
    for (int i = first; i < first + kBoxes && i < kCount; ++i) stage(i);
    staging.close();
    if (!staging.issues) continue;
    for (int i = first; i < first + kBoxes && i < count; ++i) send(i);
    hopper::stores_issued();
  }
}

// value(j, i): element i of the j-th 8 columns, as wgmma gives them to a thread.
template <class Value>
__device__ inline void stage_bf16(Shared box, Value value) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) % 128 / 32;
  const int row = 16 * warp + lane % 16;
#pragma unroll
  for (int j = 0; j < 8; j += 2) {
    const Shared at = box + row * 128 + (((j + lane / 16) ^ (row & 7)) << 4);
    hopper::store_matrices(at,
                           {pair(value(j, 0), value(j, 1)), pair(value(j, 2), value(j, 3)),
                            pair(value(j + 1, 0), value(j + 1, 1)), pair(value(j + 1, 2), value(j + 1, 3))});
  }
}

// 32 columns of fp32, added to those in the box or written over them. Lanes of odd rows take the columns in
// another order: else two rows would meet in the same banks.
template <bool kAdded>
__device__ inline void stage_fp32(Shared box, const float (&d)[128], int first) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) % 128 / 32;
  const int row = 16 * warp + lane / 4, quarter = lane % 4;
  const bool odd = row & 1;
#pragma unroll
  for (int high = 0; high < 2; ++high) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int mine = odd ? j ^ 2 : j;
      const Shared at =
          box + (row + 8 * high) * 128 + (((2 * mine + quarter / 2) ^ (row & 7)) << 4) + quarter % 2 * 8;
      const int one = 4 * (first + j) + 2 * high, other = 4 * (first + (j ^ 2)) + 2 * high;
      float x = 0, y = 0;
      if constexpr (kAdded)
        asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(x), "=f"(y) : "r"(at) : "memory");
      x += odd ? d[other] : d[one], y += odd ? d[other + 1] : d[one + 1];
      asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(at), "f"(x), "f"(y) : "memory");
    }
  }
}

__device__ inline float rounded(float x) {
  return __bfloat162float(__float2bfloat16(x));
}
__device__ inline float swish(float gate) {
  return __fdividef(gate, 1.0f + __expf(-gate));
}

// Boxes of 64 columns from d[first] on, to columns of `map` from `column` on.
template <class P, int kCount>
__device__ inline void write_columns(const float (&d)[128], int first, const CUtensorMap& map,
                                     const Tile& tile, At2 to, int count, const Staging& staging) {
  send_boxes<kCount>(
      staging, count,
      [&](int i) {
        stage_bf16(staging.box(i), [&](int j, int e) { return d[first + 4 * (8 * i + j) + e]; });
      },
      [&](int i) { hopper::store(&map, staging.box(i), P::of_group(tile, to.column + 64 * i, to.row)); });
}

// Rows' factors for the two rows that a thread has of a warpgroup's.
__device__ inline float2 factors(const Work& work, const Tile& tile, std::int32_t first) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) % 128 / 32;
  const std::int32_t row = first + 16 * warp + lane / 4;
  const auto at = [&](std::int32_t r) {
    return work.factor != nullptr && r < tile.rows ? work.factor[tile.row + r] : 1.0f;
  };
  return {at(row), at(row + 8)};
}

// Gate, up and what they make; it is worked out while gate is on its way.
template <class P>
__device__ inline void write_swiglu(float (&d)[128], const Maps& maps, const Work& work, const Tile& tile,
                                    std::int32_t row, float2 factor, const Staging& staging) {
  write_columns<P, 2>(d, 0, maps.out, tile, {tile.n, row}, 2, staging);
#pragma unroll
  for (int i = 0; i < 64; ++i)
    d[i] = swish(rounded(d[i])) * rounded(d[i + 64]) * (i & 2 ? factor.y : factor.x);
  write_columns<P, 2>(d, 64, maps.out, tile, {tile.n + work.split, row}, 2, staging);
  write_columns<P, 2>(d, 0, maps.act, tile, {tile.n, row}, 2, staging);
}

// The sums of a weight's gradient grow in the ring's stages where they came, and leave from there; the warp
// that sends them gives a stage back when it was read.
__device__ inline void write_sums(const float (&d)[128], const Maps& maps, const Work& work, const Tile& tile,
                                  int group, const Staging& staging, const Places& at, Turn& turn) {
  const bool sends = threadIdx.x % 128 < 32;
  std::uint32_t last = 0;
#pragma unroll
  for (int step = 0; step < kCols / kSumCols; ++step) {
    const std::int32_t column = tile.n + step * kSumCols;
    if (column >= work.n) break;
    hopper::barrier_wait(at.full + 8 * turn.stage, turn.parity);
    const Shared boxes = at.left(turn.stage) + group * kBox;
    for (int i = 0; i < 2; ++i) stage_fp32<true>(boxes + 2 * i * kBox, d, 4 * (2 * step + i));
    staging.close();
    if (staging.issues) {
      for (int i = 0; i < 2; ++i)
        hopper::store(&maps.out, boxes + 2 * i * kBox,
                      At3{column + 32 * i, tile.m + 64 * group, tile.weight});
      hopper::stores_issued();
      if (step > 0) hopper::stores_read<1>();
    }
    if (!sends) give_back(at, turn.stage);
    if (sends && step > 0) give_back(at, last);
    last = turn.stage, turn.next();
  }
  if (staging.issues) hopper::stores_read<0>();
  if (sends) give_back(at, last);
}

// Where nothing is added to.
__device__ inline void write_over(const float (&d)[128], const Maps& maps, const Work& work, const Tile& tile,
                                  int group, const Staging& staging) {
  send_boxes<kCols / 32>(
      staging, parts(work.n - tile.n, 32), [&](int i) { stage_fp32<false>(staging.box(i), d, 4 * i); },
      [&](int i) {
        hopper::store(&maps.out, staging.box(i), At3{tile.n + 32 * i, tile.m + 64 * group, tile.weight});
      });
}

// By each of two warpgroups.
template <Kind kKind>
__device__ void multiply_tiles(const Maps& maps, const Work& work, const Table& table, const Places& at,
                               int group) {
  using P = Product<kKind>;
  const std::int32_t tiles = table.tile[work.groups];
  const Staging staging{at.staging + group * kStaging, 1 + group, threadIdx.x % 128 == 0};
  Turn turn;
  std::int32_t t = blockIdx.x;
  Tile next = t < tiles ? P::tile_at(work, table, t) : Tile{};
  while (t < tiles) {
    const Tile tile = next;
    const auto look_ahead = [&] {
      t += gridDim.x;
      if (t < tiles) next = P::tile_at(work, table, t);
    };
    const std::int32_t steps = P::steps(work, tile), sums = P::sum_steps(work, tile);
    const std::int32_t own = (P::kWeightGradient ? work.m : tile.rows) - tile.m - 64 * group;
    if (own <= 0) {  // nothing of the tile is this warpgroup's
      for (std::int32_t step = 0; step < steps + sums; ++step, turn.next()) {
        hopper::barrier_wait(at.full + 8 * turn.stage, turn.parity);
        give_back(at, turn.stage);
      }
      look_ahead();
      continue;
    }
    float d[128];
    const std::int32_t row = tile.m + 64 * group, columns = work.n - tile.n;
    const float2 factor = kKind == Kind::swiglu ? factors(work, tile, row) : float2{};
    if (kKind == Kind::swiglu || columns > 128)
      multiply<P, 256>(d, at, turn, steps, group, look_ahead);
    else
      multiply<P, 128>(d, at, turn, steps, group, look_ahead);
    if constexpr (P::kWeightGradient) {
      if (steps == 0)
        for (float& each : d) each = 0;
      tile.over ? write_over(d, maps, work, tile, group, staging)
                : write_sums(d, maps, work, tile, group, staging, at, turn);
    } else if constexpr (kKind == Kind::swiglu)
      write_swiglu<P>(d, maps, work, tile, row, factor, staging);
    else
      write_columns<P, 4>(d, 0, maps.out, tile, {tile.n, row}, parts(columns, 64), staging);
  }
  if (staging.issues) hopper::stores_read<0>();
}

template <Kind kKind>
__global__ void __launch_bounds__(kThreads, 1) product(const __grid_constant__ Maps maps, const Work work) {
  extern __shared__ __align__(1024) unsigned char shared[];
  auto& memory = *reinterpret_cast<Memory*>(shared);
  const Places at{hopper::shared_address(memory.stages), hopper::shared_address(memory.staging),
                  hopper::shared_address(memory.full), hopper::shared_address(memory.empty)};
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      hopper::barrier_init(at.full + 8 * i, 1);
      hopper::barrier_init(at.empty + 8 * i, 8);  // from each warp that multiplies
    }
    hopper::barriers_visible();
  }
  Product<kKind>::make_table(work, memory.table);
  __syncthreads();
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  if (warpgroup == 0) {
    hopper::fewer_registers<40>();
    if (threadIdx.x < 32) copy_operands<kKind>(maps, work, memory.table, at);
  } else {
    hopper::more_registers<232>();
    multiply_tiles<kKind>(maps, work, memory.table, at, warpgroup - 1);
  }
}

}  // namespace tw::gpu::grouped
