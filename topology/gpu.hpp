// A GPU as its data sheet states it; measured costs live in scenarios/calibrations.
#pragma once

#include <string>
#include <string_view>

#include "topology/described.hpp"

namespace tw {

struct Gpu {
  std::string title;
  std::string architecture;     // "ampere", "hopper", "ada", "blackwell", "cpu"
  std::int32_t sms = 0;         // streaming multiprocessors (cpu: cores)
  FlopsPerSec bf16;             // dense tensor peak
  Defaulted<FlopsPerSec> tf32;  // zero: not supported, here and below
  Defaulted<FlopsPerSec> fp32;  // vector units
  Defaulted<FlopsPerSec> fp8;
  Defaulted<FlopsPerSec> fp4;
  Bytes memory;  // what the device reports as its total
  BytesPerSec memory_rate;
  Bytes l2;
  Watts power;
  BytesPerSec nvlink_one_way;  // per GPU, one direction; zero without NVLink
  BytesPerSec pcie_one_way;    // per GPU, one direction
  std::string source;
  friend bool operator==(const Gpu&, const Gpu&) = default;
};
TW_DESCRIBE(Gpu, title, architecture, sms, bf16, tf32, fp32, fp8, fp4, memory, memory_rate, l2, power,
            nvlink_one_way, pcie_one_way, source);

// A name in scenarios/gpus or a file; InputError when a value cannot be.
Gpu load_gpu(std::string_view name_or_path);

}  // namespace tw
