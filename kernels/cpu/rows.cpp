#include "kernels/cpu/rows.hpp"

#include <algorithm>

#include "kernels/cpu/vectors.hpp"

namespace tw::cpu {

template <class X, class Y>
void copy_rows(BlockSize size, Rows<const X> x, Rows<Y> y) {
  for (std::int64_t row = 0; row < size.rows; ++row) {
    if constexpr (std::is_same_v<X, Y>) {
      std::copy_n(x[row], size.width, y[row]);
    } else {
      std::transform(x[row], x[row] + size.width, y[row], [](X value) { return static_cast<Y>(value); });
    }
  }
}

template <class T>
void gather_rows(std::int64_t width, std::span<const std::int64_t> index, const T* x, T* y) {
  for (const std::int64_t row : index) {
    std::copy_n(x + row * width, width, y);
    y += width;
  }
}

template <class X, class Y>
void scatter_add_rows(std::int64_t width, std::span<const std::int64_t> index, const X* x, Y* y) {
  for (const std::int64_t row : index) {
    accumulate(width, x, y + row * width);
    x += width;
  }
}

template void copy_rows(BlockSize, Rows<const double>, Rows<double>);
template void copy_rows(BlockSize, Rows<const float>, Rows<float>);
template void copy_rows(BlockSize, Rows<const bf16>, Rows<bf16>);
template void copy_rows(BlockSize, Rows<const bf16>, Rows<float>);
template void copy_rows(BlockSize, Rows<const float>, Rows<bf16>);
template void gather_rows(std::int64_t, std::span<const std::int64_t>, const double*, double*);
template void gather_rows(std::int64_t, std::span<const std::int64_t>, const float*, float*);
template void gather_rows(std::int64_t, std::span<const std::int64_t>, const bf16*, bf16*);
template void scatter_add_rows(std::int64_t, std::span<const std::int64_t>, const double*, double*);
template void scatter_add_rows(std::int64_t, std::span<const std::int64_t>, const float*, float*);
template void scatter_add_rows(std::int64_t, std::span<const std::int64_t>, const bf16*, bf16*);
template void scatter_add_rows(std::int64_t, std::span<const std::int64_t>, const bf16*, float*);

}  // namespace tw::cpu
