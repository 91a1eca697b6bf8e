// Hopper's own instructions: barriers in shared memory, the bulk copy engine (TMA) and products of a
// warpgroup (wgmma), by the PTX manual's chapters on mbarrier, cp.async.bulk.tensor and wgmma.
#pragma once

#include <cuda.h>

#include <cstdint>

namespace tw::gpu::hopper {

using Shared = std::uint32_t;  // an address in shared memory

__device__ inline Shared shared_address(const void* at) {
  return static_cast<Shared>(__cvta_generic_to_shared(at));
}

__device__ inline void barrier_init(Shared bar, std::uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(arrivals) : "memory");
}
__device__ inline void barriers_visible() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void barrier_arrive(Shared bar) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}
__device__ inline void barrier_expect(Shared bar, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}
__device__ inline void barrier_wait(Shared bar, std::uint32_t parity) {
  asm volatile(
      "{\n.reg .pred p;\nAGAIN:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
      "@!p bra AGAIN;\n}\n" ::"r"(bar),
      "r"(parity)
      : "memory");
}

// Boxes of a tensor between global and shared memory.
struct At3 {
  std::int32_t x, y, z;
};
struct At4 {
  std::int32_t x, y, z, w;
};
__device__ inline void load(const CUtensorMap* map, Shared to, Shared bar, At3 at) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to),
      "l"(map), "r"(bar), "r"(at.x), "r"(at.y), "r"(at.z)
      : "memory");
}
__device__ inline void load(const CUtensorMap* map, Shared to, Shared bar, At4 at) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
      "l"(map), "r"(bar), "r"(at.x), "r"(at.y), "r"(at.z), "r"(at.w)
      : "memory");
}
__device__ inline void store(const CUtensorMap* map, Shared from, At4 at) {
  asm volatile(
      "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map),
      "r"(from), "r"(at.x), "r"(at.y), "r"(at.z), "r"(at.w)
      : "memory");
}
__device__ inline void store(const CUtensorMap* map, Shared from, At3 at) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
      "r"(from), "r"(at.x), "r"(at.y), "r"(at.z)
      : "memory");
}
__device__ inline void stores_issued() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
template <int kPending>
__device__ inline void stores_read() {  // shared memory of all but the last kPending may be written again
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}
__device__ inline void written_for_copies() {  // by this thread, before the barrier that the copier passes
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ inline void named_barrier(int name, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(name), "r"(threads) : "memory");
}
template <int kRegisters>
__device__ inline void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// Four 8 x 8 matrices of 16-bit elements; each lane gives the address of one row.
__device__ inline void store_matrices(Shared row, const std::uint32_t (&v)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared::cta.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(v[0]),
               "r"(v[1]), "r"(v[2]), "r"(v[3])
               : "memory");
}

// A matrix in shared memory as the copy engine writes boxes of 128 bytes in width, swizzled: rows of 128
// bytes in groups of eight, 1024 bytes apart; where the width is not the depth, `apart`: bytes from one such
// box to its neighbour.
__device__ inline std::uint64_t matrix(Shared at, std::uint32_t apart) {
  return static_cast<std::uint64_t>((at & 0x3ffffU) >> 4) | static_cast<std::uint64_t>(apart >> 4) << 16 |
         std::uint64_t{1024 >> 4} << 32 | std::uint64_t{1} << 62;
}

__device__ inline void products_begin() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ inline void products_issued() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ inline void products_done() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

#define TW_EIGHT(i)                                                                           \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])

// d[0 .. 64) (+)= a b of one step of 16 in depth.
template <int kTurnA, int kTurnB>
__device__ inline void multiply_128(float (&d)[128], std::uint64_t a, std::uint64_t b, bool keep) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, p, 1, 1, %67, %68;\n}\n"
      : TW_EIGHT(0), TW_EIGHT(8), TW_EIGHT(16), TW_EIGHT(24), TW_EIGHT(32), TW_EIGHT(40), TW_EIGHT(48),
        TW_EIGHT(56)
      : "l"(a), "l"(b), "r"(static_cast<int>(keep)), "n"(kTurnA), "n"(kTurnB));
}

// d[0 .. 128) (+)= a b of one step of 16 in depth.
template <int kTurnA, int kTurnB>
__device__ inline void multiply_256(float (&d)[128], std::uint64_t a, std::uint64_t b, bool keep) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
      "}, %128, %129, p, 1, 1, %131, %132;\n}\n"
      : TW_EIGHT(0), TW_EIGHT(8), TW_EIGHT(16), TW_EIGHT(24), TW_EIGHT(32), TW_EIGHT(40), TW_EIGHT(48),
        TW_EIGHT(56), TW_EIGHT(64), TW_EIGHT(72), TW_EIGHT(80), TW_EIGHT(88), TW_EIGHT(96), TW_EIGHT(104),
        TW_EIGHT(112), TW_EIGHT(120)
      : "l"(a), "l"(b), "r"(static_cast<int>(keep)), "n"(kTurnA), "n"(kTurnB));
}
#undef TW_EIGHT

}  // namespace tw::gpu::hopper
