// What a GPU does beside the measured work: clock, power, heat, and whether its clock is held down.
// Through NVML where the driver has it; nothing is ever set.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace tw {

struct GpuState {
  double clock_mhz = 0, power_w = 0, heat_c = 0;  // 0: not known
  std::int64_t held_down = 0;                     // NVML's clock event reasons but idle, as bits
};

class GpuWatch {
 public:
  // uuid: 32 hexadecimal digits, as CUDA gives it.
  explicit GpuWatch(const std::string& uuid);
  ~GpuWatch();
  GpuState now() const;
  double power_limit_w() const;
  std::string driver() const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace tw
