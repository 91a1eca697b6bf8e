// A value on the GPU: rows x width of bf16 or fp32, or what a router chose.
#pragma once

#include <memory>

#include "kernels/backend/gpu/peers.hpp"
#include "train/device/memory.hpp"

namespace tw::train {

struct DeviceTensor {
  std::int64_t rows = 0, width = 0;
  gpu::Number number = gpu::Number::bf16;
  Block block;               // of a choice: all probabilities
  Block experts, weights;    // of a choice
  Ticket ready;              // of the side lane that writes it
  std::vector<Ticket> hops;  // of the blocks of a ring, which come or go one after the other

  std::int64_t size() const { return rows * width; }
  std::int64_t bytes() const { return block.bytes() + experts.bytes() + weights.bytes(); }
  void* data() const { return block.data(); }
  char* at(std::int64_t element) const {
    return static_cast<char*>(block.data()) + element * gpu::size_of(number);
  }
};
using DeviceHandle = std::shared_ptr<DeviceTensor>;

}  // namespace tw::train
