// A range of addresses of one GPU whose memory is mapped from its beginning as far as it is needed (CUDA's
// virtual memory management): blocks keep their addresses while it grows, and nothing is copied.
#pragma once

#include <cstdint>
#include <vector>

namespace tw::gpu {

class Reservation {
 public:
  explicit Reservation(std::int64_t most_bytes);  // of addresses, not of memory
  ~Reservation();
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  char* base() const { return base_; }
  std::int64_t mapped() const { return mapped_; }
  // At least so many bytes from the base on can be used. DeviceError where the GPU has no more.
  void grow(std::int64_t bytes);

 private:
  struct Driver;
  char* base_ = nullptr;
  std::int64_t most_ = 0, mapped_ = 0;
  struct Part {
    std::uint64_t handle;
    std::int64_t first, bytes;
  };
  std::vector<Part> parts_;
};

}  // namespace tw::gpu
