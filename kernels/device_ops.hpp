// Launchers of our own CUDA kernels: plain pointers and sizes, 16-byte aligned, element counts a multiple
// of 8, on a stream. 16-bit elements are bf16; arithmetic is fp32. The formulas are those of kernels/cpu.
#pragma once

#include <cstdint>

struct CUstream_st;

namespace tw::gpu {

using Stream = CUstream_st*;

// Where a product goes: bf16, over an fp32 buffer, or added to it.
enum class Into : std::uint8_t { bf16, fp32, fp32_sum };

// Independent normal values (Box-Muller over a hash of seed and index), so that inputs have the spread
// and the bit patterns of real ones: power, and with it the clock, depends on them.
void fill_normal(void* out, std::int64_t count, float scale, std::uint64_t seed, Stream stream);
void fill_normal_fp32(float* out, std::int64_t count, float scale, std::uint64_t seed, Stream stream);

void copy_elements(const void* in, void* out, std::int64_t count, Stream stream);
void add(const void* a, const void* b, void* out, std::int64_t count, Stream stream);
void widen(const void* in, float* out, std::int64_t count, Stream stream);   // bf16 to fp32
void narrow(const float* in, void* out, std::int64_t count, Stream stream);  // fp32 to bf16
// bf16 to e4m3 after a factor; transposed: [rows, cols] to [cols, rows].
void cast_fp8(const void* in, void* out, std::int64_t count, float factor, Stream stream);
void cast_fp8_transposed(const void* in, void* out, std::int64_t rows, std::int64_t cols, float factor,
                         Stream stream);
// Largest magnitude into *out (as bits of a float >= 0, so an integer maximum); *out is not reset.
void largest(const void* in, float* out, std::int64_t count, Stream stream);

struct NormSize {
  std::int64_t rows, width;
  float epsilon;
};
void rms_norm_forward(NormSize size, const void* x, const void* weight, void* y, Stream stream);
// dweight [width] fp32, accumulated.
struct NormBackward {
  const void *x, *weight, *dy;
  void* dx;
  float* dweight;
  const void* also = nullptr;  // added to dx: another gradient of x
};
void rms_norm_backward(NormSize size, const NormBackward& at, Stream stream);

struct SwigluSize {
  std::int64_t rows, width;  // of act; a packed row [gate | up] holds twice as much
};
void swiglu_forward(SwigluSize size, const void* gate_up, void* act, Stream stream);
void swiglu_backward(SwigluSize size, const void* gate_up, const void* dact, void* dgate_up, Stream stream);

// In place, halves convention; `heads` at the start of rows of `stride` elements; the position of a row is
// its index modulo `length`. cos and sin of each position and pair: [length, head_dim / 2] fp32.
struct RopeSize {
  std::int64_t rows, heads, head_dim, stride, length;
};
void rope(RopeSize size, const float* cosines, const float* sines, void* x, Stream stream);

struct AdamWStep {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  float correction1, correction2;  // 1 - beta^step
};
struct AdamWRange {
  const float* gradient;
  float *master, *first, *second;
  void* weight;
  std::int64_t count;
};
void adamw(AdamWStep step, const AdamWRange& range, Stream stream);

// out[i] = in[index[i]], rows of `width` elements.
struct GatherSize {
  std::int64_t rows, width;
};
void gather_rows(GatherSize size, const std::int32_t* index, const void* in, void* out, Stream stream);

void nothing(Stream stream);  // an empty kernel: what a launch costs

}  // namespace tw::gpu
