// The memory of one GPU in blocks with owners. A block that a side lane used is free again when compute
// has awaited that use, or the GPU is done with it.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend/gpu/reservation.hpp"
#include "train/device/arena.hpp"
#include "train/device/lanes.hpp"

namespace tw::train {

class Memory;

class Block {
 public:
  Block() = default;
  Block(Block&& other) noexcept;
  Block& operator=(Block&& other) noexcept;
  ~Block();

  explicit operator bool() const { return owner_ != nullptr; }
  void* data() const { return data_; }
  float* floats() const { return static_cast<float*>(data_); }
  double* doubles() const { return static_cast<double*>(data_); }
  std::int32_t* ints() const { return static_cast<std::int32_t*>(data_); }
  std::int64_t bytes() const { return bytes_; }
  // A side lane reads or writes it until then.
  void used(Ticket ticket);
  // Compute goes on behind all such uses: it may write here.
  void own(Lanes& lanes);

 private:
  friend class Memory;
  Memory* owner_ = nullptr;
  void* data_ = nullptr;
  std::int64_t first_ = 0, bytes_ = 0;
  std::vector<Ticket> uses_;  // the last of each lane
};

class Memory {
 public:
  // poisoned: blocks are filled with NaN when they are taken, so that a test sees what was not written.
  Memory(Lanes& lanes, bool poisoned);
  Block take(std::int64_t bytes);
  const Arena& arena() const { return arena_; }

 private:
  friend class Block;
  void give(Block& block);
  template <class Done>
  void sweep(Done done);

  struct Waiting {
    std::int64_t first;
    std::vector<Ticket> uses;
  };
  Lanes& lanes_;
  bool poisoned_;
  gpu::Reservation range_;
  Arena arena_;
  std::vector<Waiting> waiting_;
};

}  // namespace tw::train
