// What tests of our CUDA kernels and of the library calls share: a stream, memory on the GPU, and errors.
// Without a GPU every case is skipped. Tolerances: a bf16 result rounds once (2^-9 of the value), so the
// relative error of a whole tensor is below 3e-3 where inputs are equal.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "kernels/backend/gpu/device.hpp"
#include "kernels/bf16.hpp"

namespace tw::gpu {

inline constexpr double kTolerance = 3e-3;

class GpuKernels : public testing::Test {
 protected:
  void SetUp() override {
    if (device_count() == 0) GTEST_SKIP() << "no GPU";
    use_device(0);
    stream_ = std::make_unique<OwnedStream>();
  }
  Stream stream() const { return *stream_; }
  Buffer normal(std::int64_t count, float scale = 1) {
    Buffer made(2 * count);
    fill_normal(made.data(), count, scale, ++seed_, stream());
    return made;
  }
  // Poisoned: what is not written stays NaN.
  Buffer unwritten(std::int64_t count, std::int64_t width = 2) {
    Buffer made(width * count);
    const std::vector<std::uint8_t> poison(static_cast<std::size_t>(width * count), 0xff);
    to_device(poison.data(), made.data(), width * count, stream());
    synchronise();
    return made;
  }
  template <class T>
  std::vector<T> host(const Buffer& from) {
    std::vector<T> out(static_cast<std::size_t>(from.bytes()) / sizeof(T));
    to_host(from.data(), out.data(), from.bytes(), stream());
    synchronise();
    return out;
  }
  std::vector<float> floats(const Buffer& from) {
    std::vector<float> out;
    for (const bf16 each : host<bf16>(from)) out.push_back(static_cast<float>(each));
    return out;
  }
  std::unique_ptr<OwnedStream> stream_;
  std::uint64_t seed_ = 0;
};

template <class A, class B>
double error_of(const std::vector<A>& got, const std::vector<B>& wanted) {
  double difference = 0, whole = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double w = static_cast<double>(wanted[i]), d = static_cast<double>(got[i]) - w;
    difference += d * d, whole += w * w;
  }
  return got.size() < wanted.size() ? NAN : std::sqrt(difference / whole);
}

}  // namespace tw::gpu
