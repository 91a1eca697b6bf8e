// Launchers of kernels/grouped.cuh: what the copy engine is told of each operand, and how work is cut.
#include "kernels/grouped.cuh"

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "kernels/grouped_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using grouped::Kind;
using grouped::Maps;
using grouped::Work;

constexpr auto kBf16 = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, kFp32 = CU_TENSOR_MAP_DATA_TYPE_FLOAT32;

// A program linked with libcuda does not start where there is no driver, so its function is asked for.
auto encoder() {
  static const auto found = [] {
    void* at = nullptr;
    cudaDriverEntryPointQueryResult result{};
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &at, 12000, cudaEnableDefault, &result);
    if (error != cudaSuccess || result != cudaDriverEntryPointSuccess)
      throw std::runtime_error("the driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(at);
  }();
  return found;
}

// Dimensions from the one that lies side by side on; strides in bytes, of all but that.
struct Dimensions {
  cuuint32_t rank;
  cuuint64_t size[4], stride[3];
  cuuint32_t box[4];
};

CUtensorMap map_of(CUtensorMapDataType type, const void* at, const Dimensions& d) {
  const cuuint32_t steps[4] = {1, 1, 1, 1};
  CUtensorMap map;
  const CUresult code = encoder()(&map, type, d.rank, const_cast<void*>(at), d.size, d.stride, d.box, steps,
                                  CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                  CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (code != CUDA_SUCCESS)
    throw std::runtime_error("cuTensorMapEncodeTiled failed with code " +
                             std::to_string(static_cast<int>(code)));
  return map;
}

// Rows of groups, as kernels/grouped.cuh counts them: bf16 [total, width], boxes of 64 columns.
CUtensorMap rows_map(const void* at, std::int64_t width, cuuint32_t box_rows) {
  constexpr cuuint64_t kMany = 0x7fff0000;
  const auto stride = static_cast<cuuint64_t>(2 * width);
  return map_of(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, at,
                {4,
                 {static_cast<cuuint64_t>(width), grouped::kBillion, kMany, kMany},
                 {stride, stride, (cuuint64_t{1} << 35) - stride},
                 {64, box_rows, 1, 1}});
}

// [weights, n, k].
CUtensorMap weights_map(CUtensorMapDataType type, const void* at, GroupedShape shape, std::int64_t weights,
                        cuuint32_t box_rows) {
  const bool wide = type == kFp32;
  const auto n = static_cast<cuuint64_t>(shape.n), k = static_cast<cuuint64_t>(shape.k);
  const cuuint64_t row = (wide ? 4 : 2) * k;
  return map_of(type, at,
                {3,
                 {k, n, static_cast<cuuint64_t>(weights), 1},
                 {row, row * n, 0},
                 {wide ? 32U : 64U, box_rows, 1, 1}});
}

int multiprocessors() {
  int device = 0, count = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
}

template <Kind kKind>
void start(const Maps& maps, Work work, const GroupedRows& rows, Stream stream) {
  const auto kernel = grouped::product<kKind>;
  static const cudaError_t allowed = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                          static_cast<int>(sizeof(grouped::Memory)));
  if (allowed != cudaSuccess) throw std::runtime_error(cudaGetErrorString(allowed));
  // Two groups of one weight would add to its gradient at once.
  const std::int64_t alone = kKind == Kind::wgrad ? rows.weights : rows.groups;
  const std::int64_t most = alone < grouped::kMostGroups ? alone : grouped::kMostGroups;
  for (std::int64_t first = 0; first < rows.groups; first += most) {
    const std::int64_t left = rows.groups - first;
    work.first = static_cast<std::int32_t>(first),
    work.groups = static_cast<std::int32_t>(left < most ? left : most);
    kernel<<<multiprocessors(), grouped::kThreads, sizeof(grouped::Memory), stream>>>(maps, work);
    launched("grouped product");
  }
}

struct Sizes {
  std::int64_t m, n, depth, split = 0;
  const float* factor = nullptr;
  std::int64_t over = 0;
};

template <Kind kKind>
void run(const Maps& maps, const Sizes& size, const GroupedRows& rows, Stream stream) {
  if (rows.groups == 0 || rows.total == 0) return;
  const auto narrow = [](std::int64_t x) { return static_cast<std::int32_t>(x); };
  start<kKind>(maps,
               {rows.rows, 0, 0, narrow(rows.weights), narrow(size.m), narrow(size.n), narrow(size.depth),
                narrow(size.split), narrow(size.over), size.factor},
               rows, stream);
}

}  // namespace

void grouped_forward(GroupedShape shape, const GroupedRows& rows, const void* x, const void* w, void* y,
                     Stream stream) {
  const Maps maps{rows_map(x, shape.k, grouped::kRows),
                  weights_map(kBf16, w, shape, rows.weights, 128),
                  rows_map(y, shape.n, 64),
                  {},
                  {}};
  run<Kind::forward>(maps, {0, shape.n, shape.k}, rows, stream);
}

void grouped_dgrad(GroupedShape shape, const GroupedRows& rows, const void* dy, const void* w, void* dx,
                   Stream stream) {
  const Maps maps{rows_map(dy, shape.n, grouped::kRows),
                  weights_map(kBf16, w, shape, rows.weights, 64),
                  rows_map(dx, shape.k, 64),
                  {},
                  {}};
  run<Kind::dgrad>(maps, {0, shape.k, shape.n}, rows, stream);
}

void grouped_wgrad(GroupedShape shape, const GroupedRows& rows, const void* dy, const void* x, float* dw,
                   Stream stream, Into into) {
  const bool over = into == Into::fp32;
  if (over && rows.total == 0) {
    const std::int64_t bytes = 4 * rows.weights * shape.n * shape.k;
    if (cudaMemsetAsync(dw, 0, static_cast<std::size_t>(bytes), stream) != cudaSuccess)
      launched("grouped_wgrad");
    return;
  }
  const Maps maps{rows_map(dy, shape.n, 64),
                  rows_map(x, shape.k, 64),
                  weights_map(kFp32, dw, shape, rows.weights, 64),
                  {},
                  weights_map(kFp32, dw, shape, rows.weights, grouped::kRows)};
  run<Kind::wgrad>(maps, {shape.n, shape.k, 0, 0, nullptr, over ? rows.weights : 0}, rows, stream);
}

void grouped_swiglu(GroupedSwiglu shape, const GroupedRows& rows, const void* x, const void* w,
                    const GroupedActivation& out, Stream stream) {
  if (shape.width % GroupedSwiglu::kStep != 0)
    throw std::runtime_error("grouped_swiglu: the width is no multiple of 128");
  const GroupedShape whole{2 * shape.width, shape.k};
  const Maps maps{rows_map(x, shape.k, grouped::kRows),
                  weights_map(kBf16, w, whole, rows.weights, 128),
                  rows_map(out.gate_up, whole.n, 64),
                  rows_map(out.act, shape.width, 64),
                  {}};
  run<Kind::swiglu>(maps, {0, shape.width, shape.k, shape.width, out.factor}, rows, stream);
}

}  // namespace tw::gpu
